"""List the clips, speakers, splits and attributes of the corpus; for the synthetic source, make its recordings first."""

from dataclasses import replace
from pathlib import Path

from speech2face.corpus import manifest, splits, synthetic, voxceleb
from speech2face.engine import Summary, check_rejects, map_shards, write_rejects
from speech2face.params import Params
from speech2face.stage import run_stage, write_json


def main(params: Params) -> str:
    corpus, roles, computed = params.corpus, {}, Summary("make_corpus")
    if corpus.source == "synthetic":
        settings = corpus.synthetic.model_dump()
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
        synthetic.export(computed.finished, manifest.CORPUS, settings)
        roles = synthetic.ROLES
    root = manifest.corpus_root(corpus.root)
    clips, rejects = voxceleb.list_clips(root)
    summary = replace(computed, rows_in=len(clips) + len(rejects), rows_out=len(clips), rejects=rejects)
    check_rejects(summary, params.max_reject_fraction)
    speaker_splits = {
        c.speaker_id: splits.hash_split(c.speaker_id, corpus.splits.val, corpus.splits.test) for c in clips
    }
    table = manifest.build_manifest(root, clips, speaker_splits, corpus.source, roles)
    manifest.write_manifest(manifest.CORPUS / manifest.MANIFEST_NAME, table)
    write_rejects(manifest.CORPUS / "rejects.parquet", summary)
    write_json(Path("results/corpus/metrics.json"), summary.metrics() | manifest.speaker_counts(table))
    return summary.line()


if __name__ == "__main__":
    run_stage(main, __doc__)
