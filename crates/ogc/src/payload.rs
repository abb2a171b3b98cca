//! Reading values in blocks and writing them as text, base64 or JSON strings.
