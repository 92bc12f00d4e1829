"""From sound to words to vectors (report section 3.2), per shard of videos, with each model loaded once."""


rule recognise_shard:
    """Words with times, for one shard of the videos."""
    input:
        sounds=shard_sounds,
        transcripts=shard_transcripts,
        code=code("recognise"),
    output:
        "<results>/transcripts/shard{shard}.json",
    log:
        "<logs>/recognise/shard{shard}.log",
    benchmark:
        "<benchmarks>/recognise/shard{shard}.tsv"
    priority: RECOGNITION_FIRST
    conda:
        "../../envs/language.yaml"
    params:
        settings=settings("recognise"),
        videos=shard_videos,
        audio=subpath(f"{SETTINGS.results}/audio/x", parent=True),
    message:
        "recognise: words of shard {wildcards.shard}"
    shell:
        "python -m abaw_pipeline recognise --shard-videos {params.videos:q} --audio {params.audio:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads}"
        f"{LOGGED}"


rule punctuate_shard:
    """Sentence ends between the words of one shard."""
    input:
        transcripts="<results>/transcripts/shard{shard}.json",
        code=code("punctuate"),
    output:
        "<results>/language/punctuated/shard{shard}.json",
    log:
        "<logs>/punctuate/shard{shard}.log",
    benchmark:
        "<benchmarks>/punctuate/shard{shard}.tsv"
    conda:
        "../../envs/language.yaml"
    params:
        settings=settings("punctuate"),
    message:
        "punctuate: sentences of shard {wildcards.shard}"
    shell:
        "python -m abaw_pipeline punctuate --transcripts {input.transcripts:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads}"
        f"{LOGGED}"


rule embed_shard:
    """A feature vector for every word of one shard."""
    input:
        punctuated="<results>/language/punctuated/shard{shard}.json",
        code=code("embed"),
    output:
        "<results>/language/features/shard{shard}.h5",
    log:
        "<logs>/embed/shard{shard}.log",
    benchmark:
        "<benchmarks>/embed/shard{shard}.tsv"
    conda:
        "../../envs/language.yaml"
    params:
        settings=settings("embed"),
    message:
        "embed: word vectors of shard {wildcards.shard}"
    shell:
        "python -m abaw_pipeline embed --punctuated {input.punctuated:q}"
        " --settings {params.settings:q} --output {output:q} --threads {threads}"
        f"{LOGGED}"
