"""A folder of one's own videos: `<speaker>/<anything>.mp4` (or webm, mkv, mov, m4v, avi), one folder a speaker."""

from pathlib import Path

from speech2face.corpus.clips import Clip
from speech2face.corpus.listing import VIDEO_SUFFIXES, Identity, Listing, files, folders
from speech2face.pipeline.rejects import Reject


def list_videos(root: Path) -> Listing:
    """One clip a video file. Raises ValueError if there is none."""
    listing = Listing()
    for number, speaker in enumerate(folders(root)):
        names = files(root / speaker, VIDEO_SUFFIXES)
        if not names:
            listing.missing.append(Reject(speaker, "missing_file", f"the folder {speaker} holds no video"))
        for name in names:
            path = f"{speaker}/{name}"
            listing.clips.append(Clip(f"{speaker}/{name}/00001", speaker, path, video_path=path))
        listing.identities[speaker] = Identity(speaker, number)
    if not listing.clips:
        kinds = ", ".join(suffix[1:] for suffix in VIDEO_SUFFIXES)
        raise ValueError(
            f"corpus.root {root} has no videos; put them in a folder for each speaker, <speaker>/*.mp4 ({kinds})"
        )
    return listing
