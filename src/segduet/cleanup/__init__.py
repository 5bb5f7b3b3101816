"""Rules that mend label maps after the network: components, holes, morphology, containment.

numpy and scipy only. Voxels count as neighbours when they touch at a face, an edge or a corner (26
in 3D, 8 in 2D), as in nnU-Net's post-processing; a hole is what is closed in at the faces (6, 4).
"""
