"""What the ids of clips and faces say: `<speaker>/<video>/<utterance or face>`."""

import pyarrow as pa
import pyarrow.compute as pc


def speaker_of(clip_id: str) -> str:
    """The speaker of a clip or face id."""
    return clip_id.split("/", 1)[0]


def video_of(clip_id: str) -> str:
    """`<speaker>/<video>` of a clip or face id: what a voice and a face are paired by."""
    return "/".join(clip_id.split("/")[:2])


def videos_of(clip_ids: pa.ChunkedArray) -> pa.DictionaryArray:
    """`video_of` each id of a column, in a dictionary of the videos."""
    videos = pc.replace_substring_regex(clip_ids, r"(?s)^([^/]*/[^/]*)/.*", r"\1")
    return videos.combine_chunks().dictionary_encode()
