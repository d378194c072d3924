"""What is generated from the models: JSON Schema files, the AsyncAPI document, the tables of the README."""
