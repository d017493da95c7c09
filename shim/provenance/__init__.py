"""What was done, for people and programs: provenance document and bill of materials."""
