"""A second opinion on decoded faces by insightface's models, where `evaluation.second_opinion` names a pack of them."""

import numpy as np
import torch

from speech2face.face_networks.arcface import face_boxes, load_age_sex, load_arcface
from speech2face.face_networks.extraction import to_crops
from speech2face.measures.opinions import Judge, Opinion
from speech2face.pipeline.params import resolve_path

BATCH = 16


def load_judge(pack: str | None, device: torch.device) -> Judge | None:
    """The recognition and the age and sex model of a pack, the folder that `evaluation.second_opinion` names; None for null.

    Raises FileNotFoundError if the folder or one of the models is not there, ValueError for a pack that is damaged.
    """
    if pack is None:
        return None
    folder = resolve_path(pack)
    recogniser, estimator = load_arcface(folder).to(device), load_age_sex(folder).to(device)

    @torch.inference_mode()
    def judge(images: np.ndarray, landmarks: np.ndarray) -> Opinion:
        parts = []
        for start in range(0, len(images), BATCH):
            crops = to_crops(list(images[start : start + BATCH])).to(device)
            points = torch.from_numpy(landmarks[start : start + BATCH]).float().to(device)
            who = estimator.estimate(crops, face_boxes(points))
            parts.append((recogniser.embed(crops, points), who.age_years, who.male_probability))
        return Opinion(*(torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)))

    return judge
