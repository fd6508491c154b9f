"""What a person, a CI server or a program reads of a result: text, pages, pictures, JSON, JUnit.

Every answer is made into a `document.Document` by one function of its own module, and rendered by
the modules named after the forms. No estimating here: a number that is shown was computed
elsewhere. matplotlib is needed only where pictures are drawn, jinja2 only by `html.py`.
"""
