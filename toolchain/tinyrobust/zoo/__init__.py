"""Stage ``zoo``: trained models as folders that are built, flashed and attacked.

In: a trained model's folder. Out: the zoo's folder of it: ``make`` converts and proves, ``folder``
keeps weights from which the QKeras model is rebuilt, ``int8`` makes int8 twins and float
networks' files, ``card`` the measured numbers, ``card_attacks`` what attacks found.
"""
