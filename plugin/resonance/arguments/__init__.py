# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""Recipe keys: small dataclasses mixed into LlamaFactory's own, and the checks of a whole recipe."""
