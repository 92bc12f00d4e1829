"""Instances of each model, emotion and fold (report section 3.4). Seeds of one group train side by side in one job."""

for seeds in seed_groups():

    rule:
        """Train the instances of these seeds for one model, emotion and fold."""
        name:
            f"train_{seeds[0]}_to_{seeds[-1]}"
        input:
            index=index_to_train_on,
            vectors=vector_files,
            code=code("train"),
        output:
            [
                f"<results>/runs/{{model}}/{{emotion}}/fold{{fold}}/seed{seed}/{name}"
                for seed in seeds
                for name in INSTANCE_FILES
            ],
        log:
            f"<logs>/train/{{model}}/{{emotion}}/fold{{fold}}/seed{seeds[0]}to{seeds[-1]}.log",
        benchmark:
            f"<benchmarks>/train/{{model}}/{{emotion}}/fold{{fold}}/seed{seeds[0]}to{seeds[-1]}.tsv"
        # A retry resumes from the last epoch. How a job runs is no parameter: it must not rerun what is trained.
        retries: 2
        conda:
            "../../envs/training.yaml"
        threads: SETTINGS.training.threads
        resources:
            gpu=0 if SETTINGS.training.device == "cpu" else 1,
            seeds=" ".join(str(seed) for seed in seeds),
            device=SETTINGS.training.device,
            workers=SETTINGS.training.workers,
            pin_memory=str(SETTINGS.training.pin_memory).lower(),
            sharing=SETTINGS.training.sharing,
        params:
            settings=settings("train"),
            folder=lambda wildcards: f"{SETTINGS.results}/runs/{wildcards.model}/{wildcards.emotion}/fold{wildcards.fold}",
        message:
            "train: {wildcards.model} {wildcards.emotion} fold {wildcards.fold}, seeds {resources.seeds}"
        shell:
            "python -m abaw_pipeline train --index {input.index:q} --model {wildcards.model:q}"
            " --emotion {wildcards.emotion} --fold {wildcards.fold} --seeds {resources.seeds}"
            " --output {params.folder:q} --settings {params.settings:q} --device {resources.device}"
            " --workers {resources.workers} --pin-memory {resources.pin_memory} --sharing {resources.sharing} --threads {threads}"
            f"{LOGGED}"
