from kerasft.registry import lazy

__getattr__ = lazy(__name__)
