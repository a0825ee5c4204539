"""List the clips, speakers, splits and attributes of the corpus; for the synthetic source, make its recordings first."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from speech2face.corpus import sources
from speech2face.corpus.paths import RECORDINGS as OUT
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.dvc_cache import last_output
from speech2face.pipeline.engine import map_shards, mark_if_empty
from speech2face.pipeline.params import Params
from speech2face.pipeline.plan import Plan
from speech2face.pipeline.stage import run_stage
from speech2face.pipeline.summary import Summary, write_rejects
from speech2face.synthetic import recordings


def plan(params: Params) -> Plan | None:
    if params.corpus.source != "synthetic":
        return None
    settings, shards = params.corpus.synthetic, partial(recordings.plan, params.corpus.synthetic)
    restore = recordings.restorer(lambda: last_output(OUT))
    make, files = recordings.render_shard, recordings.FILES
    return Plan("make_corpus", make, shards, files, settings, unread=recordings.UNREAD, recover=restore)


def main(params: Params) -> str:
    summary, roles, rendering = Summary("make_corpus"), {}, plan(params)
    if rendering is not None:
        summary, roles = map_shards(rendering, None, params.max_reject_fraction), recordings.ROLES
    shutil.rmtree(OUT, ignore_errors=True)  # its files may be links into DVC's cache
    OUT.mkdir(parents=True)
    if rendering is not None:
        recordings.export(summary.finished, OUT, params.corpus.synthetic)
    mark_if_empty(OUT)
    summary, splits, found = sources.write_corpus(params.corpus, roles, summary, params.max_reject_fraction)
    write_rejects(replace(summary, rejects=found.rejects + found.missing))
    write_json(Path("results/corpus/counts.json"), summary.counts() | sources.counts(splits, found))
    return summary.line() + sources.missing_line(found.missing)


if __name__ == "__main__":
    run_stage(main, __doc__)
