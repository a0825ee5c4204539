"""What the ids of clips and faces say: `<speaker>/<video>/<utterance or face>`."""


def speaker_of(clip_id: str) -> str:
    """The speaker of a clip or face id."""
    return clip_id.split("/", 1)[0]


def video_of(clip_id: str) -> str:
    """`<speaker>/<video>` of a clip or face id: what a voice and a face are paired by."""
    return "/".join(clip_id.split("/")[:2])
