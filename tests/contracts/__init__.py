"""The contracts as others meet them: documents, readers, versions in flight, and clients of other languages."""
