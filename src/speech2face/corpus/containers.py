"""How recordings and videos are opened: containers only, never playlists or scripts, which would make ffmpeg open further files."""

from typing import Any

FORMATS = (
    "wav,w64,rf64,aiff,au,caf,flac,mp3,ogg,aac,ac3,eac3,amr,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts"
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
OPEN_ARGUMENTS: dict[str, Any] = {
    "options": OPEN_OPTIONS,
    "metadata_errors": "ignore",  # titles and names in another encoding than UTF-8 are of no interest
}
"""Arguments of `av.open` for any file of a corpus: `av.open(f"file:{path}", timeout=..., **OPEN_ARGUMENTS)`."""
