"""Pure: how a model's tensors lie in one flat vector and in a safetensors file."""
