"""What the header of an image claims, read before memory is taken for it."""

import struct

PNG = b"\x89PNG\r\n\x1a\n"


def pixels(encoded):
    """Returns how many pixels decoding takes memory for; 0 where the bytes are no header, or all pixels are in them.

    A GIF is decoded whole, a byte a pixel, though only its first frame is used, three bytes a pixel.

    Raises: tf.errors.InvalidArgumentError for the header of a JPEG that cannot be read.
    """
    try:
        if encoded.startswith(PNG):
            return _area(*struct.unpack_from(">II", encoded, 16))
        if encoded.startswith(b"\xff\xd8\xff"):
            return _jpeg_pixels(encoded)
        if encoded.startswith((b"GIF87a", b"GIF89a")):
            frames = list(_gif_frames(encoded))
            return max(*frames[:1], sum(frames) // 3, 0)
        if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
            return _webp_pixels(encoded)
    except (struct.error, IndexError):
        pass  # It ends within its header, which the decoder will say better.
    return 0


def is_jpeg_xl(encoded):
    """True for the one format whose header says nothing before it is decoded."""
    return encoded.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL "))


def _area(width, height):
    return width * height


def _jpeg_pixels(encoded):
    import tensorflow as tf

    height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy().tolist()
    return width * height


def _gif_frames(encoded):
    """Yields the pixels of each frame. Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt."""
    at = 13 + _gif_colors(encoded[10])
    while at < len(encoded) and encoded[at] in b"\x21\x2c":
        if encoded[at] == 0x21:  # An extension: its label, then blocks.
            at += 2
        else:  # A frame: its place and size, colours, the size of a code, then blocks.
            yield _area(*struct.unpack_from("<HH", encoded, at + 5))
            at += 11 + _gif_colors(encoded[at + 9])
        while encoded[at]:
            at += encoded[at] + 1
        at += 1


def _gif_colors(flags):
    """Returns the bytes of the table of colours that follows, if the first flag says that there is one."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp_pixels(encoded):
    """Source: https://developers.google.com/speed/webp/docs/riff_container."""
    if encoded[12:16] == b"VP8X":
        width, height = (int.from_bytes(encoded[at : at + 3], "little") for at in (24, 27))
        return _area(width + 1, height + 1)
    if encoded[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", encoded, 21)
        return _area((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack_from("<HH", encoded, 26)
    return _area(width & 0x3FFF, height & 0x3FFF)
