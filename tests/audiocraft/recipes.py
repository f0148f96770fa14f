"""Trainings of AudioCraft that take seconds on a CPU, as the arguments of `dora run`."""

TINY = [
    "device=cpu", "optim.epochs=1", "optim.updates_per_epoch=2", "dataset.num_workers=0", "dataset.batch_size=2",
    "dataset.train.num_samples=4", "dataset.valid.num_samples=2", "dataset.evaluate.num_samples=2",
    "dataset.generate.num_samples=2", "evaluate.num_workers=0", "generate.num_workers=0",
    "logging.log_tensorboard=false",
]
# A lookup conditioner needs no T5 from the Hub, and has its own weights. Without ema.updates=1 there is no EMA.
# get_pretrained refuses a segment that is not longer than its default stride of 18 s.
LANGUAGE_MODEL = [
    *TINY, "dset=audio/example", "model/lm/model_scale=xsmall", "autocast=false",
    "transformer_lm.memory_efficient=false", "transformer_lm.num_layers=2", "optim.ema.device=cpu",
    "optim.ema.updates=1", "optim.optimizer=adamw", "optim.lr=1e-4", "dataset.segment_duration=20",
    "deadlock.use=false", "schedule.lr_scheduler=null", "generate.audio.strategy=peak",
    "conditioners.description.model=lut",
    "+conditioners.description.lut.n_bins=64", "+conditioners.description.lut.dim=32",
    "+conditioners.description.lut.tokenizer=noop",
]
GENERATION = ["generate.lm.gen_duration=1", "generate.lm.prompt_duration=0.5"]
DEBUG_CODEC = ["compression_model_checkpoint=//pretrained/debug_compression_model", "transformer_lm.n_q=4",
               "transformer_lm.card=400"]

MUSICGEN_ON = ["solver=musicgen/musicgen_base_32khz", "conditioner=text2music", *LANGUAGE_MODEL, *GENERATION]
MUSICGEN = [*MUSICGEN_ON, *DEBUG_CODEC]
STEREO = [*MUSICGEN, "channels=2", "interleave_stereo_codebooks.use=true", "transformer_lm.n_q=8",
          "codebooks_pattern.delay.delays=[0,0,1,1,2,2,3,3]", "generate.lm.prompted_samples=false"]
AUDIOGEN = ["solver=audiogen/audiogen_base_16khz", "conditioner=text2sound", *LANGUAGE_MODEL, *GENERATION,
            "sample_rate=32000", *DEBUG_CODEC, "dataset.train.batch_size=2"]
MAGNET = ["solver=magnet/magnet_32khz", "conditioner=text2music", *LANGUAGE_MODEL, *DEBUG_CODEC,
          "transformer_lm.custom=true", "transformer_lm.compression_model_framerate=25", "dataset.segment_duration=24",
          "generate.lm.decoding_steps=[2,1,1,1]"]
AUDIO_MAGNET = ["solver=magnet/audio_magnet_16khz", "conditioner=text2sound", *LANGUAGE_MODEL, *DEBUG_CODEC,
                "sample_rate=32000", "dataset.train.batch_size=2",
                "transformer_lm.custom=true", "transformer_lm.compression_model_framerate=25",
                "dataset.segment_duration=24", "generate.lm.decoding_steps=[2,1,1,1]",
                "efficient_attention_backend=xformers"]
ENCODEC = ["solver=compression/debug", *TINY, "dset=audio/example", "dataset.segment_duration=1",
           "dataset.generate.segment_duration=1", "dataset.evaluate.batch_size=1", "sample_rate=32000", "rvq.bins=256",
           "rvq.n_q=4"]
ON_ENCODEC = ["transformer_lm.n_q=4", "transformer_lm.card=256", "codebooks_pattern.modeling=parallel"]
DIFFUSION = ["solver=diffusion/debug", *TINY, "dset=audio/example", "sample_rate=32000", "dataset.segment_duration=1",
             "dataset.generate.segment_duration=1", "dataset.evaluate.batch_size=1", "n_q=4",
             "compression_model_checkpoint=//pretrained/debug_compression_model", "diffusion_unet.codec_dim=32",
             "diffusion_unet.hidden=8", "diffusion_unet.growth=2", "processor.use=true", "processor.num_samples=4"]
# only in AudioCraft's git main (1.4.0a); the loudness loss needs compiled filters of torchaudio
WATERMARK = ["solver=watermark/robustness", *TINY, "dset=audio/example", "dataset.segment_duration=1",
             "dataset.generate.segment_duration=1", "dataset.evaluate.batch_size=1",
             "dataset.evaluate.segment_duration=1", "audio_effects.encodec.ckpt=//pretrained/debug_compression_model",
             "audio_effects.encodec.n_qs=[1]", "losses.tf_loudnessratio=-1", "seanet.n_filters=2",
             "seanet.dimension=16", "detector.output_dim=4"]
# Cannot be trained: the published code passes its transformer keys that it does not have.
JASCO = ["solver=jasco/chords", *LANGUAGE_MODEL, "compression_model_checkpoint=//pretrained/debug_compression_model",
         "compression_model_latent_dim=32", "compression_model_framerate=25"]
