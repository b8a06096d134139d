"""Model -> Graph: torch modules, ONNX files, factories."""
