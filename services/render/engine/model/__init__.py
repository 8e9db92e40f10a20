"""The language of templates: what it can say, what is wrong with a template, and the text of an HTML part."""
