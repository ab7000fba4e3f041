"""The generated world: imagery of anywhere on Earth, made on the spot and always the same.

Nothing is stored. A pixel is a function of its place and its date, so any area and any day give a picture, and two
machines give the same one.
"""

from __future__ import annotations

from eelocal.assets import Assets, StoredCollection, StoredImage
from eelocal.world.climate import CHIRPS, ERA5_LAND
from eelocal.world.elevation import NASADEM, SRTM, SRTM_90, Glo30, WorldCover
from eelocal.world.landsat import MISSIONS, LandsatCollection
from eelocal.world.modis import MCD43A4, MOD13Q1
from eelocal.world.reanalysis import ERA5_LAND_HOURLY, ERA5_MONTHLY, GRIDMET_DROUGHT, IMERG
from eelocal.world.s2 import PRODUCTS, S2Collection
from eelocal.world.sentinel1 import S1Collection


def world() -> Assets:
    """All assets of the generated world; cheap, since nothing is computed until a pixel is asked for."""
    collections: list[StoredCollection] = [S2Collection(product) for product in PRODUCTS]
    collections += [LandsatCollection(mission) for mission in MISSIONS]
    collections += [S1Collection(), MOD13Q1, MCD43A4, ERA5_LAND, CHIRPS, Glo30(), WorldCover()]
    collections += [ERA5_LAND_HOURLY, ERA5_MONTHLY, IMERG, GRIDMET_DROUGHT]
    images: list[StoredImage] = [SRTM, SRTM_90, NASADEM]
    return Assets(
        collections={collection.id: collection for collection in collections},
        images={image.id: image for image in images},
    )
