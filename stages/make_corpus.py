"""List the clips, speakers, splits and attributes of the corpus; for the synthetic source, make its recordings first."""

import shutil
from dataclasses import replace
from pathlib import Path

from speech2face.corpus import manifest, sources
from speech2face.pipeline.atomic import write_json
from speech2face.pipeline.engine import Summary, check_rejects, map_shards, work_directory, write_rejects
from speech2face.pipeline.params import Params
from speech2face.pipeline.stage import run_stage


def main(params: Params) -> str:
    corpus, roles, computed = params.corpus, {}, Summary("make_corpus")
    if corpus.source == "synthetic":
        from speech2face.synthetic import recordings as synthetic  # only here: a listing does without the renderer

        settings, roles = corpus.synthetic.model_dump(), synthetic.ROLES
        computed = map_shards(
            "make_corpus",
            synthetic.render_shard,
            synthetic.plan(settings),
            schema=synthetic.FILES,
            out=None,
            settings=synthetic.rendering_settings(settings),
            context={},
            max_reject_fraction=params.max_reject_fraction,
        )
        shutil.rmtree(manifest.CORPUS, ignore_errors=True)  # its files may be links into DVC's cache
        synthetic.export(computed.finished, manifest.CORPUS, settings)
    table, found = sources.list_corpus(corpus, work_directory() / "digests.sqlite", roles)
    summary = replace(computed, **sources.tally(table, found))
    check_rejects(summary, params.max_reject_fraction)
    manifest.write_manifest(manifest.CORPUS / manifest.MANIFEST_NAME, table)
    write_rejects(manifest.CORPUS / "rejects.parquet", replace(summary, rejects=found.rejects + found.missing))
    write_json(Path("results/corpus/metrics.json"), summary.metrics() | sources.counts(table, found))
    return summary.line() + sources.missing_line(found.missing)


if __name__ == "__main__":
    run_stage(main, __doc__)
