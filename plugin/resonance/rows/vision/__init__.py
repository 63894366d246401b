# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How many tokens an image becomes, from its file's header.

LlamaFactory decodes, resizes and cuts up every image of a row, for prompt + chosen and again for prompt + rejected,
only to learn how often to repeat the image token. Here its own `process_messages` runs on images that have a size and
no pixels, with an image processor that answers from sizes: the same messages, two orders of magnitude sooner.

| file | what |
|---|---|
| `header` | the size of an image from its header; images without pixels. Imports PIL alone |
| `opening` | only formats that pictures of data sets have are opened. Imports PIL alone |
| `families` | what each family's image processor returns for images of given sizes |
| `counter` | LlamaFactory's `process_messages` on sizes, compared once with the real path |
"""
