"""What air and clouds do to light, band by band.

Everything here is per band and without images: scattering and absorption of the clear
atmosphere, and two-stream reflection and transmission of cloud layers as tables over optical
thickness. Formulas:

- Rayleigh optical thickness: Hansen and Travis (1974), doi:10.1007/BF00168069, eq. 2.30;
- path reflectance: single scattering of a homogeneous layer (Chandrasekhar 1960) raised for
  multiple scattering; coupling with the ground, and transmission as an exponential of the part
  scattered backwards: Tanre et al. (1979), doi:10.1364/AO.18.003587; Rahman and Dedieu (1994),
  doi:10.1080/01431169408954055;
- aerosol: Angstrom (1929) exponent 1.3, Henyey-Greenstein phase function;
- water vapour: band transmissions exp(-a w**b), after Rahman and Dedieu; coefficients chosen to
  agree with Sentinel-2 L1C and L2A pairs of the same scene;
- clouds: two-stream equations (Coakley and Chylek 1975,
  doi:10.1175/1520-0469(1975)032<0409:TTSAIR>2.0.CO;2; Meador and Weaver 1980), which without
  absorption give R = (1-g) t / (2 + (1-g) t), with t the slant optical thickness; absorption by
  liquid water after King et al. (1990) and Nakajima and King (1990),
  doi:10.1175/1520-0469(1990)047<1878:DOTOTA>2.0.CO;2, and by ice after Warren and Brandt (2008),
  doi:10.1029/2007JD009744.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.bands import BANDS

__all__ = [
    "TABLE_SIZE",
    "Atmosphere",
    "BandOptics",
    "band_optics",
    "delta_direct",
    "layer_tables",
    "table_index",
    "table_thickness",
    "two_stream",
]

Floats = NDArray[np.float32]

# King et al. 1992; Baum et al. 2005.
ASYMMETRY: Final = {"liquid": 0.85, "ice": 0.78, "coarse ice": 0.78}

# Share of the light lost at each scattering (1 - single-scattering albedo). Coarse ice is chosen so
# that thick cloud has reflectances near 0.18 at 1.6 and 0.19 at 2.2 um, as the cold overcast of an
# L8 Biome image has (Forest_06: 0.16 and 0.18); crystals of 0.1 mm absorb about as much.
_ABSORPTION: Final = {
    "liquid": {"nir": 1e-5, "nir08": 3e-5, "nir09": 2e-4, "cirrus": 8e-3, "swir16": 5.5e-3,
               "swir22": 2.0e-2},
    "ice": {"nir": 1e-5, "nir08": 3e-5, "nir09": 2e-4, "cirrus": 1.2e-2, "swir16": 4.5e-2,
            "swir22": 7.5e-2},
    "coarse ice": {"nir": 2e-5, "nir08": 8e-5, "nir09": 5e-4, "cirrus": 3.0e-2, "swir16": 1.7e-1,
                   "swir22": 1.45e-1},
}  # fmt: skip

# Water vapour transmission exp(-a w**b), w the slant column in centimetres.
_VAPOUR: Final = {
    "red": (0.004, 0.8),
    "rededge071": (0.010, 0.7),
    "rededge075": (0.006, 0.7),
    "rededge078": (0.004, 0.7),
    "nir": (0.030, 0.6),
    "nir08": (0.003, 0.7),
    "nir09": (0.55, 0.5),
    "cirrus": (3.4, 0.55),
    "swir16": (0.008, 0.7),
    "swir22": (0.016, 0.7),
}
_VAPOUR_SCALE = 2.0  # kilometres, scale height of water vapour (Reitan 1963)
_AIR_SCALE = 8.0  # kilometres, scale height of air
# Vertical optical thickness of ozone at 0.3 cm-atm (Chappuis band) and of mixed gases.
_OTHER_GASES: Final = {
    "blue": 0.006,
    "green": 0.031,
    "red": 0.016,
    "rededge071": 0.007,
    "nir": 0.003,
    "swir16": 0.006,
    "swir22": 0.014,
}

TABLE_SIZE: Final = 2048
_THICKEST = 150.0


@dataclass(frozen=True)
class Atmosphere:
    """The clear air over a scene.

    Attributes:
        aerosol: optical thickness at 550 nm.
        vapour: column of water vapour above the ground, in centimetres of liquid water.
        elevation: of the ground above the sea, in kilometres; thins the air.
    """

    aerosol: float
    vapour: float
    elevation: float


@dataclass(frozen=True)
class BandOptics:
    """The clear atmosphere in one band: toa = gas * (path + transmission * r / (1 - sphere r)).

    Attributes:
        path: reflectance of the air alone.
        transmission: sun to ground to sensor, direct and diffuse, without gases.
        sphere: spherical albedo of the air.
        gas: transmission of absorbing gases over the whole way.
        diffuse: share of the light at the ground that comes from the sky, not the sun.
    """

    path: float
    transmission: float
    sphere: float
    gas: float
    diffuse: float


def _rayleigh(band: str) -> float:
    square = BANDS[band].wavelength ** 2
    return 0.008569 / square**2 * (1 + 0.0113 / square + 0.00013 / square**2)


def _aerosol(band: str, atmosphere: Atmosphere) -> float:
    return atmosphere.aerosol * math.pow(BANDS[band].wavelength / 0.55, -1.3)


def _gas(band: str, vapour: float, air_mass: float, share: float = 1.0) -> float:
    a, b = _VAPOUR.get(band, (0.0, 1.0))
    other = _OTHER_GASES.get(band, 0.0) * share
    return math.exp(-a * (vapour * air_mass) ** b - other * air_mass)


def band_optics(band: str, atmosphere: Atmosphere, sun_elevation: float) -> BandOptics:
    """Return what the clear atmosphere does in a band for a sensor at the zenith.

    Args:
        band: common name.
        atmosphere: the air.
        sun_elevation: degrees.
    """
    mu = math.sin(math.radians(sun_elevation))
    air_mass = 1 / mu + 1
    rayleigh = _rayleigh(band) * math.exp(-atmosphere.elevation / _AIR_SCALE)
    aerosol = _aerosol(band, atmosphere)
    back = 0.5 * rayleigh + 0.17 * aerosol  # what is scattered backwards, and lost to soot
    direct = math.exp(-(rayleigh + 0.7 * aerosol) / mu)  # the forward peak stays with the beam
    down = math.exp(-back / mu)
    return BandOptics(
        path=_path(rayleigh, aerosol, mu),
        transmission=down * math.exp(-back),
        sphere=1 - math.exp(-0.85 * rayleigh - 0.2 * aerosol),
        gas=_gas(band, atmosphere.vapour, air_mass),
        diffuse=1 - direct / down,
    )


def _path(rayleigh: float, aerosol: float, mu: float) -> float:
    """Return the reflectance of air seen from the zenith, over black ground."""
    molecules = 0.75 * (1 + mu * mu)
    g = 0.65  # continental aerosol; seen at the angle 180 - zenith, so cos = -mu
    particles = (1 - g * g) / math.pow(1 + g * g + 2 * g * mu, 1.5)
    thickness = rayleigh + aerosol
    if thickness == 0:
        return 0.0
    phase = (rayleigh * molecules + 0.93 * aerosol * particles) / thickness
    single = phase / (4 * (mu + 1)) * (1 - math.exp(-thickness * (1 / mu + 1)))
    return single * (1 + 2.0 * rayleigh + 0.8 * aerosol)


def two_stream(
    thickness: NDArray[np.float64], slant: float, asymmetry: float, absorption: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return reflection and total transmission of a cloud layer over black ground.

    Args:
        thickness: vertical optical thickness.
        slant: length of the way through a layer of unit height, 1 / cos(zenith).
        asymmetry: g, mean cosine of scattering.
        absorption: 1 - single-scattering albedo.
    """
    albedo = 1 - absorption
    lost = slant * (1 - albedo * (1 + asymmetry) / 2)
    returned = slant * albedo * (1 - asymmetry) / 2
    k = math.sqrt(max(lost * lost - returned * returned, 1e-12))
    wave = np.tanh(k * thickness)
    bottom = k + lost * wave
    return returned * wave / bottom, k / (np.cosh(np.minimum(k * thickness, 300)) * bottom)


def delta_direct(thickness: Floats | NDArray[np.float64], slant: float) -> NDArray[np.float64]:
    """Return the share of the sunbeam that passes a cloud, its forward peak included.

    The peak, a share g**2 of what is scattered, stays with the beam (delta-Eddington scaling,
    Joseph et al. 1976, doi:10.1175/1520-0469(1976)033<2452:TDEAFR>2.0.CO;2).
    """
    kept = 1 - ASYMMETRY["liquid"] ** 2
    return np.exp(-np.asarray(thickness, np.float64) * kept * slant)


def table_index(thickness: Floats) -> NDArray[np.intp]:
    """Return where an optical thickness lies in the tables: finer steps for thinner clouds."""
    scaled = np.sqrt(thickness * np.float32(1 / _THICKEST))
    scaled *= np.float32(TABLE_SIZE - 1)
    index: NDArray[np.intp] = np.minimum(scaled, np.float32(TABLE_SIZE - 1)).astype(np.intp)
    return index


def table_thickness() -> NDArray[np.float64]:
    """Return the optical thickness of each entry of the tables, (TABLE_SIZE,)."""
    return (np.arange(TABLE_SIZE) / (TABLE_SIZE - 1)) ** 2 * _THICKEST


def layer_tables(
    band: str, atmosphere: Atmosphere, sun_elevation: float, phase: str, height: float
) -> tuple[Floats, Floats]:
    """Return (glow, pass) over `table_thickness`: toa = pass * toa without the layer + glow.

    The air above the cloud adds its own path reflectance and dims the cloud; of the water vapour
    only the part above it counts, so that high clouds alone show in the cirrus band.

    Args:
        band: common name.
        atmosphere: the clear air.
        sun_elevation: degrees.
        phase: ``liquid``, ``ice`` or ``coarse ice``.
        height: of the cloud's top above the sea, in kilometres.
    """
    mu = math.sin(math.radians(sun_elevation))
    air_mass = 1 / mu + 1
    above = math.exp(-height / _AIR_SCALE)
    over = max(height - atmosphere.elevation, 0.0)
    vapour = atmosphere.vapour * math.exp(-over / _VAPOUR_SCALE)
    rayleigh = _rayleigh(band) * above
    aerosol = _aerosol(band, atmosphere) * math.exp(-over)  # aerosol's scale height is near 1 km
    clear = math.exp(-(0.5 * rayleigh + 0.17 * aerosol) * air_mass)
    gas = _gas(band, vapour, air_mass, share=0.9 if height < 15 else 0.5)
    absorption = _ABSORPTION[phase].get(band, 1e-6)
    thickness = table_thickness()
    reflected, _ = two_stream(thickness, 1 / mu, ASYMMETRY[phase], absorption)
    _, passed = two_stream(thickness, 1.0, ASYMMETRY[phase], absorption)
    path = _path(rayleigh, aerosol, mu) * gas
    glow = path * (1 - passed) + clear * gas * reflected
    return glow.astype(np.float32), passed.astype(np.float32)
