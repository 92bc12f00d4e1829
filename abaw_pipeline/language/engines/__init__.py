"""Speech recognisers behind one function type: `Recogniser` in `abaw_pipeline.language.words`."""
