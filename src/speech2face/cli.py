"""The command line: `speech2face predict`, `serve`, `export`, `weights check`, `rejects`, `compare`, `estimate`, `why`, `prune` and
`doctor`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from speech2face import __version__
from speech2face.pipeline.printing import escape_what_cannot_be_printed


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors that a user can fix are one line on standard error."""
    arguments = _parser().parse_args(argv)
    escape_what_cannot_be_printed()
    try:
        return arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"speech2face: error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech2face", description="The face that a voice typically has.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_predict(commands)
    _add_serve(commands)
    _add_export(commands)
    _add_weights(commands)
    _add_rejects(commands)
    _add_compare(commands)
    _add_estimate(commands)
    why = commands.add_parser("why", help="say what differs between a stage's last run and now")
    why.add_argument("stage", help="make_corpus, segment_audio, crop_faces, extract_features, ...")
    why.set_defaults(run=_why)

    prune = commands.add_parser(
        "prune", help="remove from .work what neither dvc.lock nor an experiment nor the next run needs"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    prune.set_defaults(run=_prune)

    doctor = commands.add_parser("doctor", help="say what is installed, what is missing and how to get it")
    doctor.add_argument("--root", type=Path, default=Path(), help="the repository (default: the current folder)")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="draw the faces that voices typically have",
        description="Draw the face that the voice in a recording typically has. It is not the speaker's face: do not use it to identify or "
        "judge anyone.",
    )
    predict.add_argument(
        "voices",
        type=Path,
        nargs="+",
        metavar="VOICE",
        help="recordings of someone speaking (wav, flac, mp3, m4a, mp4, webm, ...; at least 1 s), or folders of them",
    )
    predict.add_argument(
        "-o",
        "--out",
        type=Path,
        help="picture to write (default: face.png); of several recordings the folder to write them to (default: faces)",
    )
    predict.add_argument(
        "--sheet", type=Path, metavar="PICTURE", help="also draw all faces, with names, on this contact sheet"
    )
    predict.add_argument(
        "--models", type=Path, default=Path("models"), help="folder of trained models (default: %(default)s)"
    )
    predict.add_argument(
        "--stretch",
        type=float,
        default=1.0,
        help="draw the face so many times as far from the mean face as predicted, 0 to 10: above 1 its differences are easier to see, and "
        "so are its mistakes; 0 draws the mean face (default: %(default)g, the prediction itself)",
    )
    predict.set_defaults(run=_predict)


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="show the face that a voice typically has on a page to speak into",
        description="Serve a page on this machine that records a voice, or takes a file, and shows the face that such a voice typically "
        "has. Nothing is stored, and nothing is asked of any other machine.",
    )
    serve.add_argument(
        "--models", type=Path, default=Path("models"), help="folder of trained models (default: %(default)s)"
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; any but 127.0.0.1 lets others in, and their voices travel unencrypted (default: %(default)s)",
    )
    serve.add_argument("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    serve.add_argument("--open", action="store_true", help="open the page in a browser")
    serve.set_defaults(run=_serve)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export", help="write the trained networks as files that need neither this package nor PyTorch"
    )
    export.add_argument(
        "--onnx",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder to write: ONNX networks, a small program that draws faces by them, and a page that explains them",
    )
    export.add_argument(
        "--models", type=Path, default=Path("models"), help="folder of trained models (default: %(default)s)"
    )
    export.set_defaults(run=_export)


def _add_weights(commands: Any) -> None:
    weights = commands.add_parser("weights", help="look at weight files of face networks").add_subparsers(
        required=True, metavar="ACTION"
    )
    check = weights.add_parser(
        "check", help="say what a VGG-Face weight file is and what input it expects; refuse any other file"
    )
    check.add_argument(
        "file",
        type=Path,
        help="vgg_face_dag.pth, a Keras .h5, VGG_FACE.t7, a MatConvNet .mat; its name does not matter",
    )
    check.set_defaults(run=_check_weights)


def _add_rejects(commands: Any) -> None:
    rejects = commands.add_parser("rejects", help="count and list what the stages left out, with the reasons")
    rejects.add_argument("--stage", help="only this stage's")
    rejects.add_argument("--reason", help="only those with this reason")
    rejects.add_argument("--all", action="store_true", help="list all of them, not the first 20 only")
    rejects.add_argument("--root", type=Path, default=Path(), help="the repository (default: the current folder)")
    rejects.set_defaults(run=_rejects)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="compare two experiments on the same test clips, with intervals and p-values"
    )
    compare.add_argument("first", type=Path, help="results/evaluation/tables/clips.csv of one run")
    compare.add_argument(
        "second", type=Path, help="the same file of another run; `dvc get . PATH --rev EXPERIMENT -o FILE` fetches it"
    )
    compare.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameter file (default: %(default)s)"
    )
    compare.set_defaults(run=_compare)


def _add_estimate(commands: Any) -> None:
    estimate = commands.add_parser(
        "estimate",
        help="say how long a corpus takes, and how much memory and disk",
        description="Say how long each stage takes for a corpus of VoxCeleb1's, VoxCeleb2's or AVSpeech's kind, and how much memory and "
        "disk. First the stages run on generated recordings, to measure this machine with the workers and devices that the S2F_ variables "
        "ask for. docs/scale.md explains what is counted.",
    )
    estimate.add_argument(
        "corpora", nargs="*", metavar="CORPUS", help="voxceleb1, voxceleb2, avspeech (default: all three)"
    )
    for name, what in (("clips", "videos and speakers in proportion"), ("videos", ""), ("speakers", "")):
        of = f"; {what}, unless they are given" if what else ""
        estimate.add_argument(f"--{name}", type=int, metavar="N", help=f"{name} of the corpus, instead of all{of}")
    estimate.add_argument(
        "--processors", type=int, metavar="P", help="for so many processors (default: this machine's)"
    )
    estimate.add_argument(
        "--gpus",
        type=int,
        metavar="G",
        help="for so many GPUs of the kind that was measured (default: as many as were measured)",
    )
    estimate.add_argument(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        help="parameter file, such as a preset (default: %(default)s)",
    )
    estimate.add_argument(
        "--rates", type=Path, metavar="FILE", help="do not measure: take what --save-rates wrote, here or elsewhere"
    )
    estimate.add_argument("--save-rates", type=Path, metavar="FILE", help="write what was measured, as JSON")
    estimate.add_argument("--markdown", action="store_true", help="print one table in Markdown")
    estimate.set_defaults(run=_estimate)


# Commands import what they need when they run, so that --help answers at once.


def _predict(arguments: argparse.Namespace) -> int:
    from speech2face.pipeline.machine import device
    from speech2face.predict import predict

    return predict(
        arguments.voices,
        arguments.out,
        arguments.models,
        device(),
        stretch=arguments.stretch,
        sheet=arguments.sheet,
    )


def _serve(arguments: argparse.Namespace) -> int:
    from speech2face.app.command import serve

    return serve(arguments.models, arguments.host, arguments.port, open_browser=arguments.open)


def _export(arguments: argparse.Namespace) -> int:
    from speech2face.exporting.export import export_onnx

    print(export_onnx(arguments.onnx, arguments.models, __version__))
    return 0


def _check_weights(arguments: argparse.Namespace) -> int:
    from speech2face.face_networks.vgg_face_file import check_command

    print(check_command(arguments.file))
    return 0


def _rejects(arguments: argparse.Namespace) -> int:
    from speech2face.pipeline.rejects import rejects_report

    limit = {"limit": None} if arguments.all else {}
    print(rejects_report(arguments.root, stage=arguments.stage, reason=arguments.reason, **limit))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from speech2face.evaluation.compare import compare
    from speech2face.pipeline.params import load_params

    params = load_params(arguments.params)
    table = compare(arguments.first, arguments.second, params.evaluation, params.seed)
    print(table.to_string(index=False, float_format="{:.4f}".format))
    return 0


def _estimate(arguments: argparse.Namespace) -> int:
    from speech2face.estimate.command import estimate

    sizes = {name: getattr(arguments, name) for name in ("clips", "videos", "speakers", "processors", "gpus")}
    print(
        estimate(
            arguments.corpora,
            __version__,
            **sizes,
            params=arguments.params,
            measured=arguments.rates,
            save=arguments.save_rates,
            as_markdown=arguments.markdown,
        )
    )
    return 0


def _why(arguments: argparse.Namespace) -> int:
    from speech2face.why import why

    print(why(arguments.stage))
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from speech2face.prune import prune

    print(prune(arguments.dry_run))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from speech2face.doctor import report

    text, healthy = report(arguments.root)
    print(text)
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
