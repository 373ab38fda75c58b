"""What a file declares, checked before anything is built, extracted or allocated from it.

Each module knows one format and returns what the file says of itself. What is wrong is a UserError. Nothing here
imports Keras or TensorFlow, and nothing of the package but errors and files.
"""
