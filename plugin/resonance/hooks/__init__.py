# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""How this package becomes live inside LlamaFactory: the patch mechanism and the list of patches."""
