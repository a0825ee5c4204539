"""How recordings and videos are opened: containers only, never playlists or scripts, which would make ffmpeg open further files."""

FORMATS = (
    "wav,w64,rf64,aiff,au,caf,flac,mp3,ogg,aac,ac3,eac3,amr,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts"
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
