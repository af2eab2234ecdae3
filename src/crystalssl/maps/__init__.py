"""Features and structures in, one interactive page out: points on a plane, crystals in 3D.

After features/ and report/, whose projections it uses. ``crystal_map.py`` gathers what is shown,
``columns.py`` decides how a column becomes colours, ``packing.py`` makes arrays into text, and
``page.py`` puts both into the template with the scripts of ``templates/``.
"""
