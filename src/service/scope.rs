//! Whose tasks a viewer may see.
