"""The registry of error and warning codes, with the meaning, the usual causes and a remedy for each code."""

ERRORS: dict[str, str] = {
    # Options and arguments
    "ambiguous-signature": """
        The prefix of a signature matches several experiments of the Dora folder. Give more characters: the message
        lists the signatures that match.""",
    "config-group-conflict": """
        The project has a config group named `export`, or a key `export` or `exporter` with another meaning.
        audiocraft-export needs both names: rename the group or the key of the project.""",
    "conflicting-options": """
        Two options exclude each other, or an option requires another one that is missing: `--chunk` requires `--slurm`,
        `private` and `revision` require `hub`, `--bands` requires `--folder`. The message names both options.""",
    "invalid-option": """
        The value of an option is not one of its valid values. The message says what is expected. The options are the
        same under `exporter` in Hydra, as flags of the command and as keywords in Python.""",
    "invalid-arguments": """
        The command line has a syntax error, or an argument is missing or invalid.
        `audiocraft-export help COMMAND` shows the usage.""",
    "invalid-override": """
        Hydra cannot compose `export` or `exporter` from the command line: an override has a syntax error, or chooses a
        config of the group `exporter` that does not exist.""",
    "name-conflict": """
        The solver has a method or an attribute `export` of its own, which hides the method of `ExportMixin`. Rename it,
        or let the method accept the options of an export, as in `def export(self, **options)`, and call
        `super().export(**options)`.""",
    "unknown-option": """
        The option does not exist, usually because of a typo. The hint shows the closest name, or where to find all
        options.""",
    "unresolved-option": """
        An interpolation under `export` or `exporter` cannot be resolved, because the key or the environment variable
        that it refers to does not exist. Write the value itself.""",
    "unsupported-main": """
        `with_export` supports only a main function that `dora.hydra_main` decorates. Write `@with_export` above
        `@hydra_main`. A main over argparse has no Hydra configuration: let its solver inherit from `ExportMixin`.""",
    # Experiments
    "checkpoint-not-found": """
        The XP folder does not have the checkpoint. Either the training has not stored one yet (`save_last: false`
        never does), or `--checkpoint` names an epoch that does not exist: the message lists those that do.""",
    "dora-folder-not-found": """
        The folder is not a Dora folder: it has no subfolder `xps`. Run the command inside a Dora folder, or name the
        folder that `dora.dir` of the training configuration names with `--dora-dir`, or the training package with
        `-P`.""",
    "experiment-changed": """
        Today's configuration of the project gives another signature for the stored overrides of the experiment, so
        `dora run -f SIG export=only` would export another experiment. Export the stored files with
        `audiocraft-export run SIG`: it does not compose the configuration again.""",
    "experiment-mismatch": """
        The checkpoint was written by another experiment than the one whose folder it is in, or its signature is not a
        string. It was probably copied there. Export the experiment that the message names, or name the file itself and
        a folder for its release.""",
    "experiment-not-found": """
        No experiment of the Dora folder has this signature. Check the signature with `audiocraft-export list`, and the
        Dora folder with `--dora-dir`. With `export=only`: no experiment was trained with these overrides.""",
    "grid-not-found": """
        The Dora folder has no experiments of this grid. Grids are listed in its subfolder `grids`, and appear there
        once `dora grid NAME` has scheduled them.""",
    "output-failed": """
        The output of the command cannot be written to the terminal, the pipe or the file that it is redirected to. The
        command stops there: what it has exported is complete, and `audiocraft-export run` can be repeated.""",
    "package-import-failed": """
        The training package that `-P` or `$DORA_PACKAGE` names cannot be imported. The import is needed only to find
        the Dora folder: give that folder with `--dora-dir` instead.""",
    "path-not-found": """
        No file or folder exists at this path, and it is not a signature either. Check the spelling, and that the path
        is relative to the current folder.""",
    "read-failed": """
        The operating system refuses to read a file or a folder, or to write one that is not a release. The message has
        the reason: missing permissions, an I/O error of the disk, a broken link.""",
    "wrong-target": """
        The target exists, but is not what the command needs: an XP folder where a release is expected, a release where
        a training checkpoint is expected, or a file where a folder is expected.""",
    # Checkpoints
    "already-exported": """
        The file is a release, not a training checkpoint: it has the key `exported`. There is nothing left to export.
        Name the signature of the experiment, or its `checkpoint.th`.""",
    "corrupted-file": """
        A file is damaged: a checksum differs, the file is truncated, or it has unexpected bytes. The usual causes are
        a full disk during the training, an interrupted copy and a failing disk.
        Restore the file from a backup, or export an earlier checkpoint (`--checkpoint EPOCH`).""",
    "file-changed": """
        Another process wrote to the file while it was read, usually a training that stores its next checkpoint. Export
        again when that process has finished.""",
    "limit-exceeded": """
        The file exceeds a limit for the number of values, characters, levels of nesting or the size of non-tensor data.
        The limits are far above what trainings store; they keep a crafted file from exhausting the memory. Store only
        tensors and plain data in the state of the model, and large data in separate files.""",
    "missing-config": """
        The checkpoint has no configuration (`xp.cfg`), and no `.hydra/config.yaml` is next to it. A release needs the
        configuration to rebuild the model. Name a YAML file with `--config FILE`.""",
    "not-a-checkpoint": """
        The file was not written by `torch.save`, or does not have the sections of a training checkpoint. The message
        says what it is: a Git LFS pointer (run `git lfs pull`), a web page (the download failed), a compressed archive
        (unpack it), a safetensors file, or a checkpoint of torch < 1.6.""",
    "unsupported-checkpoint": """
        The file has a format that is not supported: it was written on a big-endian machine, with features of a later
        torch, or with custom classes instead of plain state dicts.""",
    # Configurations
    "config-not-scrubbable": """
        The model is built from a value that `scrub` would remove, or from a private value that `scrub=public` cannot
        remove. Add the key to `scrub` if the model does not need it, or remove the pattern.""",
    "invalid-config": """
        The configuration cannot be used: it is not YAML, not a mapping, too deeply nested or not valid UTF-8, or a
        value that the model is built from has an unexpected type.""",
    "unresolved-config": """
        A key that the model is built from is missing, or its interpolation cannot be resolved on this machine. Set the
        key or the environment variable that it refers to.""",
    "unsupported-config-value": """
        The configuration has a value that is neither a number, a string, a list nor a mapping, and `.hydra/config.yaml`
        does not have it as plain text either. Classes of a project are never imported.""",
    # Weights
    "dtype-overflow": """
        A weight has a value beyond the range of the dtype, or torch cannot convert it to that dtype. bfloat16 has the
        range of float32.""",
    "expanded-tensors": """
        The tensors are expanded views: they need far more bytes than the checkpoint stores. Call `.contiguous()`
        on them before they are saved.""",
    "missing-weights": """
        The checkpoint does not have the weights that were asked for. `best_state` is empty before the first validation,
        `ema` exists only with `optim.ema.use=true`, other sections only if the solver registers them. The hint names
        weights that exist.""",
    "prefix-conflict": """
        A state dict has the same parameter with and without the prefix of torch.compile or DDP. Save the state of the
        unwrapped model, or keep the names with `family=general`.""",
    "sharded-weights": """
        The weights are one shard of a model that FSDP or tensor parallelism has split. Gather them on all ranks before
        they are saved. AudioCraft does so for its best state: use `weights=best` after a validation.""",
    "unexpected-parts": """
        AudioCraft's loaders expect a single state dict, but the section of the checkpoint has several. `family=general`
        releases all of them, but AudioCraft cannot load that release.""",
    "unsupported-weights": """
        The state of the model has a value that is neither a tensor nor plain data, a tensor without its own storage in
        memory (quantized, sparse, nested, lazy), or a reference to itself. Remove such values from the state of the
        model.""",
    # Compression models
    "codec-not-found": """
        The compression model of a language model (`compression_model_checkpoint`) cannot be read on this machine. Make
        it available under the name in the message, or leave it out with `codec=none`.""",
    "missing-codec": """
        The configuration of the language model does not name a compression model (`compression_model_checkpoint`).
        Export it with `codec=none`.""",
    "not-a-codec": """
        The file or experiment that `compression_model_checkpoint` names is not a compression model, or has no weights
        that could be released.""",
    "unknown-model-name": """
        The name is neither a public model nor a path. Public models have names such as `facebook/encodec_32khz`.""",
    # Families of models
    "family-mismatch": """
        The checkpoint does not belong to the model family that it is exported as. `--family general` exports any
        checkpoint; the drop-in functions `export_lm` and `export_encodec` each support one kind of model.""",
    "invalid-bands": """
        `--bands` requires all bands of one MultiBand Diffusion model, each of them once, in order, and with the same
        sample rate.""",
    "missing-sample-processor": """
        A diffusion model cannot generate without its `sample_processor`, which this checkpoint does not have.""",
    # Formats
    "codec-mismatch": """
        The number or the size of the codebooks differs between the compression model and the language model. Use the
        compression model that the language model was trained with.""",
    "incompatible-package": """
        An installed package does not work with the installed torch. Export the transformers format in a separate
        environment: an export does not need the training environment.""",
    "lossy-conversion": """
        The release cannot be converted to the other format without loss, or was trained further in transformers. Export
        the experiment again with `--format`.""",
    "missing-package": """
        The export needs an optional package that is not installed. The hint has the command that installs it.""",
    "pretrained-unavailable": """
        A public model that the release needs, such as the T5 text encoder, is not in the Hugging Face cache and cannot
        be downloaded. Export where it is in the cache (`HF_HOME`), or where the Hub can be reached.""",
    "unknown-format": """
        The release was made by a later version of audiocraft-export. Use that version.""",
    "unsupported-by-safetensors": """
        The weights have a dtype, a name or data that safetensors does not support. Use `format=audiocraft`.""",
    "unsupported-by-transformers": """
        transformers has no equivalent of this model. Use `format=audiocraft` or `format=safetensors`, which support
        every model.""",
    "weights-config-mismatch": """
        The weights do not match the configuration: names or shapes of tensors differ. The configuration was probably
        changed after the training.""",
    # Releases on disk
    "disk-full": """
        The disk does not have enough free space for the release. An existing release stays until the new one is
        complete, so both need space. Free some, or choose another folder with `--folder`.""",
    "file-exists": """
        A file that does not belong to any release has the name of a file of the new release, or a name that a loader
        looks for, such as `model.fp16.safetensors`, so that it would be loaded instead. It is never overwritten. Move
        it, or choose another folder.""",
    "invalid-output": """
        The output path cannot hold a release: it is a dangling link, a pipe, a folder where a file is expected, or a
        file where a folder is expected.""",
    "other-experiment": """
        The folder has the release of another experiment, or files of a release whose experiment is unknown. They are
        replaced only with `--force` (`force=True`, `exporter.force=true`).""",
    "read-back-failed": """
        The data that was read back from the disk differs from the data that was written. The disk is probably failing.
        The release was not moved into place.""",
    "scrub-dropped": """
        The release in the folder was made with `scrub` patterns that the new export lacks, so values that were removed
        would return. Give the same patterns, or `--force` (`force=True`, `exporter.force=true`). `run --all` and the
        exports of a training keep the patterns. If the manifest of the release is damaged or missing, its patterns are
        unknown: then an export is refused whose configuration has keys that the released one lacks.""",
    "training-folder": """
        The output folder is an XP folder, a Dora folder, or holds a training checkpoint, which a release must never
        replace. Choose another folder.""",
    "unsigned-files": """
        A signature covers all files of the release folder, except the model card, the files of git and the cache of a
        download from the Hub. The folder has files that do not belong to the release: move them, or choose another
        folder.""",
    "write-failed": """
        The operating system refuses to write the release, for the reason in the message: missing permissions, a
        read-only file system, a name that is too long.""",
    # Verification
    "damaged-release": """
        The files of the release do not match its manifest, or refer to tensors, files or keys that are missing. Export
        it again.""",
    "invalid-key": """
        The file is not a key that can sign or check a release: an EC key with the curve P-256, P-384 or P-521, in a PEM
        file; the private key to sign, the public key to check.""",
    "invalid-signature": """
        `model.sig` or an attestation is missing or damaged, was made with another key, or does not match the files of
        the release. Do not use the release, or ask for the key that signed it.""",
    "missing-passphrase": """
        The private key is encrypted, and its passphrase is unknown or wrong. Only the command asks for it, and only on
        a terminal; a training reads it from the environment variable `AUDIOCRAFT_EXPORT_PASSPHRASE`.""",
    "invalid-manifest": """
        `export.json` is missing or invalid, or was changed after it was written. Export the release again.""",
    "load-failed": """
        AudioCraft or transformers cannot build the model of the release. The message has the error of the library. The
        usual causes are another version of a package and an edited configuration.""",
    "load-mismatch": """
        The model was loaded, but its weights or its output differ from the checkpoint. Do not use the release, and
        report the error.""",
    "loader-missing": """
        `verify=load` needs a library that can build the model: AudioCraft for its own families, transformers for its
        format. For all other models, use `verify=bytes`.""",
    # Sharing
    "hub-conflict": """
        The README.md was edited on the Hub: it has text that the local one lacks, or lacks a section that the local one
        has. Make the same edits in the README.md of the release, and push again.""",
    "invalid-card": """
        The README.md of the release cannot be updated without losing text: its front matter is not YAML, a marker of a
        generated section is missing or duplicated, or the file is too large or not UTF-8. Correct it, or move it
        away.""",
    "invalid-endpoint": """
        `HF_ENDPOINT` is not a valid address. Its value is hidden, because it may contain a password.""",
    "push-failed": """
        The release is complete on disk, and pushing it to the Hub failed for the reason in the message. The hint has
        the command that pushes it.""",
    # Batches, Slurm and training
    "invalid-job-folder": """
        The folder for the scripts and logs of Slurm jobs cannot be written, or Slurm cannot use its name. Choose
        another folder with `--slurm folder=DIR`.""",
    "rank-failed": """
        Another rank of the training failed, so nothing was exported. The log of that rank has the cause.""",
    "slurm-not-found": """
        The commands of Slurm are not on `$PATH`. Run this on a login node, or use `--jobs` instead of `--slurm`.""",
    "slurm-rejected": """
        `sbatch` rejected the jobs for the reason in the message, usually an unknown partition or a limit. With more
        experiments per task (`--chunk`), fewer tasks are submitted.""",
    "unexpected-error": """
        An unexpected exception, probably a bug in audiocraft-export. Please report it with the traceback that `--debug`
        shows.""",
    "worker-died": """
        The process of a job ended before it returned a result, usually because the machine ran out of memory or Slurm
        ended the job. Retry, with more memory or time.""",
    "worker-start-failed": """
        The operating system cannot start another process. Use fewer `--jobs`.""",
}

WARNINGS: dict[str, str] = {
    "codec-globals": """
        The same as `unknown-globals`, for the checkpoint of the compression model.""",
    "config-from-file": """
        The checkpoint has no configuration: the released one was taken from `.hydra/config.yaml` of the XP folder, or
        from the file that the option `config` names.""",
    "config-value-replaced": """
        A value of the configuration in the checkpoint is a Python object, such as an enumeration. The release has the
        value from `.hydra/config.yaml`, or the object as a string.""",
    "corrupted-history": """
        `history.json` of the XP folder is not a list of epochs, so its metrics are not shown. An export uses the
        history in the checkpoint.""",
    "corrupted-overrides": """
        `.argv.json` of the XP folder is not a list of overrides, so they are not shown. An export does not need
        them.""",
    "corrupted-tensor": """
        The bytes of a tensor do not match their checksum. Weights that include this tensor cannot be exported. Restore
        the checkpoint from a backup, or export an earlier one (`--checkpoint EPOCH`).""",
    "different-bands": """
        The bands of a MultiBand Diffusion release were trained with different settings, such as another compression
        model. They may not sound right together.""",
    "epochs-not-exported": """
        `export` is on, but some epochs were not exported: the solver stores no checkpoint, or the method that trains is
        unknown. The message says what to change: let the solver inherit from `ExportMixin`, name the method in
        `export_after`, or call `export()` after the training.""",
    "digest-mismatch": """
        The manifest has another content digest than the weights of the release: it was forged, or belongs to another
        release.""",
    "general-family": """
        The solver has the name of an AudioCraft solver, but its configuration lacks keys that AudioCraft requires. The
        model was released as a general model. Use `family=NAME` to release it as an AudioCraft model.""",
    "history-mismatch": """
        `history.json` and the checkpoint have different numbers of epochs. The warning says which of the two the
        manifest uses.""",
    "incomplete-bands": """
        The release has one band of a MultiBand Diffusion model, which generates only part of the spectrum. Release all
        bands together with `audiocraft-export run --bands`.""",
    "manifest-ignored": """
        `export.json` next to the file cannot be read or is not a valid manifest, so its values are not shown.
        `audiocraft-export verify` says what is wrong.""",
    "manifest-not-updated": """
        The manifest of an older release has no identity of its checkpoint, and adding it failed for the reason in the
        message. The release is valid. The next export compares it with its checkpoint again.""",
    "metric-direction": """
        The option `metric` names a score, such as an accuracy, without a direction, so its lowest value counts as the
        best. Add `:max` if the highest value is the best, or `:min`.""",
    "missing-history": """
        The checkpoint has no history, or no finished epoch, so the number of trained epochs is unknown.""",
    "missing-metrics": """
        The metrics of the best epoch are NaN or infinite: the training has probably diverged.""",
    "missing-xp-sig": """
        The checkpoint has no signature (`xp.sig`), so it cannot be verified that it belongs to the experiment.""",
    "nonfinite-values": """
        The weights have NaN or infinite values: the training has probably diverged. `audiocraft-export inspect
        --values` shows which tensors have them.""",
    "old-card": """
        The README.md next to the release, or on the Hub, describes another release. An export with `card=true`
        (`--card`) updates it.""",
    "plot-kept": """
        The training-curve.png next to the release is not the one that the previous export made, so it was kept. Move
        it, and export again, to get the new plot.""",
    "prefix-removed": """
        Parameters had the prefixes of torch.compile (`_orig_mod.`) or DDP (`module.`). The prefixes were removed,
        because AudioCraft's loaders expect names without them.""",
    "prefix-kept": """
        Parameters have the prefixes of torch.compile (`_orig_mod.`) or DDP (`module.`), and were released under these
        names.""",
    "private-values": """
        The release is pushed to the Hub with values that look private: paths, user names, hosts, tokens.
        `scrub=public` removes them.""",
    "progress-not-shown": """
        The progress bar cannot be drawn, usually because the terminal was closed. The export continues without it.""",
    "scrub-kept": """
        The previous release in the folder was made with `scrub` patterns that the options of this export lack. The new
        release keeps them, so that removed values are not published by mistake. `force=true` drops them.""",
    "scrub-unmatched": """
        A pattern of `scrub` matches no key of the configuration: probably a typo. Later exports need not repeat it.""",
    "shared-storages": """
        Several tensors of the checkpoint share their storage, such as tied weights. The release also stores shared data
        only once.""",
    "signature-removed": """
        The release in the folder was signed or attested, and was written again without a key or without `attest`, so
        its signature or its attestations are not valid any more and were removed. With `sign=KEY.pem` (`--sign`) the
        new release is signed, and an export with `attest=true` (`--attest`) makes new attestations.""",
    "unknown-best": """
        With `exporter.when=best`, the metric that selects the best state is unknown, or the epochs do not have it, so
        every epoch counts as the best so far and is exported. Set `exporter.metric`, such as `accuracy:max`.""",
    "unknown-epoch": """
        The epoch of the weights is unknown, so the manifest and the model card do not report its metrics.""",
    "unknown-globals": """
        The checkpoint has objects of classes or functions that are not needed for a release. They were neither imported
        nor released.""",
    "unknown-version": """
        AudioCraft is not installed and no version was given, so the version tag of the release is `unknown`.""",
    "unreadable-experiment": """
        The permissions of the XP folder, of a file in it or of its release do not allow it to be read, so what is shown
        is incomplete.""",
    "unused-options": """
        The command line of a training has options of `exporter`, but `export` is false, so nothing will be exported.
        Add `export=true`.""",
    "unusable-checkpoint": """
        `checkpoint.th` is empty, a dangling symlink or a folder, or its permissions do not allow it to be read. Restore
        it from a backup, or export another checkpoint (`--checkpoint EPOCH`).""",
    "weights-left-out": """
        The section has parts that AudioCraft's loaders do not take, so they are not in the release.
        `family=general` releases all parts.""",
}
