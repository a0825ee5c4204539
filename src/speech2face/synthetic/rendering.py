"""Pictures of synthetic speakers: a mesh, a painted skin, hair and a shirt, path traced by Mitsuba 3."""

import math
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2face.synthetic import eyes
from speech2face.synthetic.clothes import Shirt
from speech2face.synthetic.denoising import denoise
from speech2face.synthetic.hair import COLOURS, Hair, Strands, hidden, ribbons, strand_colours
from speech2face.synthetic.head_shape import Head
from speech2face.synthetic.mesh import smoothstep, vertex_normals
from speech2face.synthetic.skin import BUMP_M, Skin, texture_coordinates
from speech2face.synthetic.speakers import Speaker, Video

Array = NDArray[np.float64]

FIELD_OF_VIEW_DEG = 17.2
CAMERA_HEIGHT_M = -0.022
GAZE_DROP = 0.07
"""Tangent of the angle by which eyes look below the camera: the lids' opening lies below the eyeball's centre."""
PIVOT_M = np.array([0.0, -0.10, -0.085])
"""The head turns about this point of the neck."""
TURNED_AWAY = -0.2
"""Part along the view, of a unit normal, below which a surface is out of sight, with a margin for a near camera."""
KEY_LIGHTS_M = {"left": (-0.92, 0.55, 0.85), "front": (0.1, 0.75, 1.15), "right": (0.92, 0.55, 0.85)}
KEY_RADIUS_M, KEY_RADIANCE, SKY_RADIANCE = 0.22, 17.0, 0.40


class FaceRenderer:
    """Renders speakers; keep one a process, it holds the mesh, the masks and the hair.

    One thread does the work, since processes are the parallelism.
    """

    def __init__(self, size_px: int = 256, samples_per_pixel: int = 4) -> None:
        if size_px < 32:
            raise ValueError(f"size_px must be at least 32 (got {size_px})")
        if samples_per_pixel < 1 or math.isqrt(samples_per_pixel) ** 2 != samples_per_pixel:
            raise ValueError(f"samples_per_pixel must be a square number of at least 1 (got {samples_per_pixel})")
        import drjit
        import mitsuba

        mitsuba.set_variant("scalar_rgb")
        drjit.set_thread_count(1)
        self._mi: Any = mitsuba
        self._size_px, self._samples = size_px, samples_per_pixel
        self._head = Head()
        self._skin, self._hair, self._shirt = Skin(self._head), Hair(self._head), Shirt(self._head)
        self._texture_coordinates = texture_coordinates(self._head.mean)
        self._painted: tuple[Speaker, Any, np.random.Generator] | None = None

    def render(self, speaker: Speaker, video: Video) -> NDArray[np.uint8]:
        """RGB picture uint8 [size_px, size_px, 3] of `speaker` in `video`; the same arguments give the same bytes."""
        scene = self._mi.load_dict(self._scene(speaker, video))
        layers = np.array(self._mi.render(scene, seed=0, spp=self._samples))
        return _develop(denoise(layers), video)

    def _scene(self, speaker: Speaker, video: Video) -> dict[str, Any]:
        control = self._head.control(speaker, video.expression)
        shape = self._head.skin(control)
        displacement = shape - self._head.mean
        turn = _rotation(video)

        def pose(points: Array) -> Array:
            with_head = smoothstep(-0.185, -0.085, points[..., 1])[..., None]
            return points + with_head * ((points - PIVOT_M) @ turn.T + PIVOT_M - points)

        skin = pose(shape)
        normals = vertex_normals(skin, self._head.faces)
        flesh, rng = self._paint(speaker)
        faces = self._head.faces[self._shirt.seen_skin]
        triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
        shirt, shirt_normals = self._shirt.fit(skin, normals)
        collar = self._shirt.collar(shirt)
        cloth = self._cloth(video)
        scene: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 3, "hide_emitters": True},
            "sensor": self._camera(video),
            "sky": self._sky(),
            "key": {
                "type": "sphere",
                "center": list(KEY_LIGHTS_M[video.lighting]),
                "radius": KEY_RADIUS_M,
                "emitter": {
                    "type": "area",
                    "radiance": _rgb(KEY_RADIANCE * video.light_strength * np.array([1.0, 0.95, 0.87])),
                },
            },
            "skin": self._mesh(skin, _seen(triangles, normals), normals, flesh, self._texture_coordinates),
            "shirt": self._mesh(shirt, _seen(self._shirt.triangles, shirt_normals), shirt_normals, cloth),
            "collar": self._mesh(collar[0], collar[2], collar[1], cloth),
        }
        for side, (centre, radius) in zip("lr", eyes.eyeball_places(control), strict=True):
            centre = pose(centre[None])[0]
            gaze = np.array([0.0, CAMERA_HEIGHT_M - GAZE_DROP * video.distance_m, video.distance_m]) - centre
            ball, ball_normals, ball_triangles, colours = eyes.eyeball(
                centre, radius, gaze / np.linalg.norm(gaze), speaker.eye_colour, rng
            )
            scene[f"eye_{side}"] = self._mesh(ball, ball_triangles, ball_normals, self._wet(), colours=colours)
        for number, (roots, tips, upper) in enumerate(eyes.lash_rows(control)):
            scene |= self._lashes(number, pose(roots), pose(tips), upper, speaker.sex)
        brows = self._hair.brows
        thickness = 1.4 if speaker.sex == "m" else 0.85
        for number, strands in enumerate((*self._hair.cut(speaker.hair_cut), brows)):
            kept = strands.mark < (thickness if strands is brows else np.inf)
            scene[f"hair_{number}"] = self._strands(speaker, strands, pose(strands.moved(displacement)), turn, kept)
        return scene

    def _sky(self) -> dict[str, Any]:
        """A grey room, brighter above than below."""
        # Linear between its rows, so few give the same light, and one of fewer points is drawn sooner. At the poles none is drawn.
        rows = np.linspace(1.35, 0.35, 4)[:, None, None] * np.ones((4, 2, 3))
        bitmap = self._mi.Bitmap((SKY_RADIANCE * rows).astype(np.float32))
        return {"type": "envmap", "bitmap": bitmap}

    def _camera(self, video: Video) -> dict[str, Any]:
        look = self._mi.ScalarTransform4f().look_at(
            origin=[0.0, CAMERA_HEIGHT_M, video.distance_m], target=[0.0, CAMERA_HEIGHT_M, 0.0], up=[0.0, 1.0, 0.0]
        )
        film = {
            "type": "hdrfilm",
            "width": self._size_px,
            "height": self._size_px,
            "pixel_format": "rgba",
            "rfilter": {"type": "box"},
        }
        # A light path in each square of a lattice over the pixel: at 4 as little noise as at 6 paths that are spread otherwise.
        sampler = {"type": "stratified", "sample_count": self._samples}
        return {"type": "perspective", "fov": FIELD_OF_VIEW_DEG, "to_world": look, "film": film, "sampler": sampler}

    def _mesh(
        self,
        vertices: Array,
        triangles: NDArray[np.int64],
        normals: Array,
        material: Any,
        texture_coordinates: Array | None = None,
        colours: Array | None = None,
    ) -> Any:
        properties = self._mi.Properties()
        properties["material"] = material
        mesh = self._mi.Mesh(
            "mesh",
            len(vertices),
            len(triangles),
            props=properties,
            has_vertex_normals=True,
            has_vertex_texcoords=texture_coordinates is not None,
        )
        filled = {"vertex_positions": vertices, "vertex_normals": normals, "faces": triangles}
        if texture_coordinates is not None:
            filled["vertex_texcoords"] = texture_coordinates
        if colours is not None:
            mesh.add_attribute("vertex_color", 3, [0.0] * colours.size)
            filled["vertex_color"] = colours
        parameters = self._mi.traverse(mesh)
        for name, values in filled.items():
            # Into the mesh's own memory: to set a parameter takes forty times as long, because it is first compared, number by number.
            np.asarray(parameters[name])[:] = values.ravel()
            parameters.set_dirty(name)
        parameters.update()
        return mesh

    def _paint(self, speaker: Speaker) -> tuple[Any, np.random.Generator]:
        """A speaker's skin, which is kept for the next video, and the generator of what else is drawn by chance."""
        if self._painted is None or self._painted[0] != speaker:
            rng = np.random.default_rng(list(speaker.speaker_id.encode()))
            flesh = self._flesh(*self._skin.paint(speaker, np.array(COLOURS[speaker.hair_colour]), rng))
            self._painted = speaker, flesh, rng
        return self._painted[1], deepcopy(self._painted[2])

    def _flesh(self, reflectance: NDArray[np.floating[Any]], relief: NDArray[np.floating[Any]]) -> Any:
        def texture(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
            bitmap = self._mi.Bitmap(np.ascontiguousarray(values))
            return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"}

        body = {
            "type": "principled",
            "base_color": texture(reflectance),
            "roughness": 0.48,
            "specular": 0.4,
        }
        return self._mi.load_dict({"type": "bumpmap", "relief": texture(relief), "scale": BUMP_M, "body": body})

    def _cloth(self, video: Video) -> Any:
        cloth = {"type": "diffuse", "reflectance": _rgb(np.array(video.shirt))}
        return self._mi.load_dict({"type": "twosided", "cloth": cloth})

    def _wet(self) -> Any:
        colour = {"type": "mesh_attribute", "name": "vertex_color"}
        return self._mi.load_dict({"type": "principled", "base_color": colour, "roughness": 0.12, "specular": 0.6})

    def _fibre(self, roughness: float = 0.42, specular: float = 0.45) -> Any:
        colour = {"type": "mesh_attribute", "name": "vertex_color"}
        fibre = {"type": "principled", "base_color": colour, "roughness": roughness, "specular": specular}
        return self._mi.load_dict({"type": "twosided", "fibre": fibre})

    def _strands(self, speaker: Speaker, strands: Strands, points: Array, turn: Array, kept: NDArray[np.bool_]) -> Any:
        outward = strands.outward @ turn.T
        shown = ~hidden(points, outward)
        kept = kept & shown.any(axis=1)
        vertices, normals, triangles = ribbons(points[kept], outward[kept], strands.width_m[kept], 0.45)
        # Of each segment's two triangles one comes first, then of each the other.
        triangles = triangles[np.tile(shown[kept].ravel(), 2)]
        colours = strand_colours(speaker, strands.mark[kept], points.shape[1])
        return self._mesh(vertices, triangles, normals, self._fibre(), colours=colours)

    def _lashes(self, number: int, roots: Array, tips: Array, upper: bool, sex: str) -> dict[str, Any]:
        """The dark line along a lid's margin and the lashes on it."""
        line_width = (0.3 if sex == "f" else 0.2) if upper else 0.1
        reach = (0.95 if sex == "f" else 0.6) if upper else 0.5
        steps = np.linspace(0, len(roots) - 1, 34)
        root, tip = (
            np.stack([np.interp(steps, np.arange(len(a)), a[:, i]) for i in range(3)], -1) for a in (roots, tips)
        )
        hairs = root[:, None] + (tip - root)[:, None] * (np.linspace(0, reach, 4)[None, :, None])
        hairs[:, 1:3, 1] -= 0.0006 if upper else -0.0004
        outward = np.broadcast_to(np.array([0.0, 0.0, 1.0]) + np.array([0.0, 1.0 if upper else -1.0, 0.0]), hairs.shape)
        lash = ribbons(hairs, outward, np.full(len(hairs), 0.00042), 0.3)
        edge = np.stack([root, root + line_width * (tip - root)], axis=0)
        first = np.arange(len(root) - 1)
        k = len(root)
        strip = np.concatenate(
            [np.stack([first, first + 1, first + k + 1], -1), np.stack([first, first + k + 1, first + k], -1)]
        )
        dark = 0.018

        def coloured(vertices: Array, normals: Array, triangles: NDArray[np.int64]) -> Any:
            return self._mesh(
                vertices, triangles, normals, self._fibre(0.6, 0.2), colours=np.full(vertices.shape, dark)
            )

        flat = np.tile([0.0, 0.0, 1.0], (2 * k, 1))
        return {
            f"lashes_{number}": coloured(*lash),
            f"lash_line_{number}": coloured(edge.reshape(-1, 3), flat, strip),
        }


def _rgb(values: Array) -> dict[str, Any]:
    return {"type": "rgb", "value": [float(v) for v in values]}


def _rotation(video: Video) -> Array:
    """Rotation of the head: yaw towards +x, then pitch upwards."""
    yaw, pitch = np.deg2rad(video.yaw_deg), np.deg2rad(video.pitch_deg)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return about_y @ about_x


def _seen(triangles: NDArray[np.int64], normals: Array) -> NDArray[np.int64]:
    """Those of a closed surface's triangles that are not turned away from the camera, which looks along -z; `normals` of its vertices."""
    return triangles[(normals[triangles, 2] > TURNED_AWAY).any(axis=1)]


def _develop(layers: NDArray[np.floating[Any]], video: Video) -> NDArray[np.uint8]:
    """A picture [H, W, 4] (colour multiplied by alpha, alpha) over its backdrop, as sRGB bytes."""
    colour, alpha = layers[..., :3], layers[..., 3]
    height, width = alpha.shape
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    towards_light = {"left": 0.3 - x, "front": np.zeros_like(x), "right": x - 0.7}[video.lighting]
    falloff = 1.08 - 0.55 * ((x - 0.5) ** 2 + (y - 0.45) ** 2) + 0.25 * towards_light
    backdrop = (np.array(video.background) * falloff[..., None]).astype(np.float32)  # and so all that follows
    picture = colour + (1 - alpha)[..., None] * backdrop
    linear = np.where(picture < 0.7, picture, 0.7 + 0.3 * np.tanh((picture - 0.7) / 0.3))  # highlights roll off
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb), dtype=np.uint8)
