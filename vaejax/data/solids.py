"""Where rays meet solids, in closed form: a cube, a cylinder, a sphere and a capsule that stand on the plane z = 0.

Every function takes the origin o and the directions d of rays (of any length), and the solid's sizes. It gives the
distance t along each ray to where it enters the solid, in lengths of d and infinite where it misses, and the outward
normal n of the surface there. With p = o + t d:

    cube      max |x|, |y|, |z - a| = a                the last of the three slabs to be entered
    sphere    |p - (0, 0, r)| = r                      the smaller root of a quadratic equation
    cylinder  x^2 + y^2 = r^2, 0 <= z <= h             its side, and the plane of its top (its bottom is never seen)
    capsule   points at r from the segment z = r .. h - r on the axis: a cylinder's side and two spheres
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Hit = tuple[Float[Array, "*rays"], Float[Array, "*rays 3"]]


def cube(o: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"], half: Float[Array, ""]) -> Hit:
    """A cube of side 2 * half, its sides along the axes."""
    away = jnp.where(d < 0, -1.0, 1.0)
    steps = jnp.where(d == 0, 1e-12 * away, d)
    from_centre = o - half * jnp.array([0.0, 0.0, 1.0])
    enter, leave = (-half * away - from_centre) / steps, (half * away - from_centre) / steps
    axis, t = enter.argmax(axis=-1), enter.max(axis=-1)
    return jnp.where((t < leave.min(axis=-1)) & (t > 0), t, jnp.inf), -away * (jnp.arange(3) == axis[..., None])


def sphere(o: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"], radius: Float[Array, ""]) -> Hit:
    """A sphere that touches the floor."""
    return ball(o, d, radius, radius)


def cylinder(
    o: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"], radius: Float[Array, ""], height: Float[Array, ""]
) -> Hit:
    """An upright cylinder."""
    around, side = barrel(o, d, radius, jnp.zeros_like(height), height)
    top = (height - o[..., 2]) / d[..., 2]
    from_axis = o[..., :2] + top[..., None] * d[..., :2]
    top = jnp.where((top > 0) & ((from_axis**2).sum(-1) <= radius**2), top, jnp.inf)
    return jnp.minimum(around, top), jnp.where((top < around)[..., None], jnp.array([0.0, 0.0, 1.0]), side)


def capsule(
    o: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"], radius: Float[Array, ""], height: Float[Array, ""]
) -> Hit:
    """An upright capsule; `height` is over all, at least 2 * radius."""
    t, n = barrel(o, d, radius, radius, height - radius)
    for centre in (radius, height - radius):
        other, normal = ball(o, d, radius, centre)
        n = jnp.where((other < t)[..., None], normal, n)
        t = jnp.minimum(t, other)
    return t, n


def ball(o: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"], radius: Float[Array, ""], z: Float[Array, ""]) -> Hit:
    """A sphere whose centre is at height z."""
    from_centre = o - z * jnp.array([0.0, 0.0, 1.0])
    t = smaller_root((d**2).sum(-1), (d * from_centre).sum(-1), (from_centre**2).sum(-1) - radius**2)
    return t, (from_centre + jnp.where(jnp.isfinite(t), t, 0)[..., None] * d) / radius


def barrel(
    o: Float[Array, "*#rays 3"],
    d: Float[Array, "*rays 3"],
    radius: Float[Array, ""],
    low: Float[Array, ""],
    high: Float[Array, ""],
) -> Hit:
    """The side of an upright cylinder between two heights."""
    t = smaller_root(
        (d[..., :2] ** 2).sum(-1), (d[..., :2] * o[..., :2]).sum(-1), (o[..., :2] ** 2).sum(-1) - radius**2
    )
    p = o + jnp.where(jnp.isfinite(t), t, 0)[..., None] * d
    within = (p[..., 2] >= low) & (p[..., 2] <= high)
    return jnp.where(within, t, jnp.inf), p * jnp.array([1.0, 1.0, 0.0]) / radius


def smaller_root(a: Float[Array, "*rays"], b: Float[Array, "*rays"], c: Float[Array, "*rays"]) -> Float[Array, "*rays"]:
    """The smaller solution of a t^2 + 2 b t + c = 0 where it is real and positive, else infinity."""
    square = b**2 - a * c
    t = (-b - jnp.sqrt(jnp.maximum(square, 0))) / a
    return jnp.where((square > 0) & (t > 0), t, jnp.inf)
