"""Where several things go: places and sizes that keep them apart.

Each layout is a list of (x, y, size): the centre or, for standing things, the foot, 0..1 of the picture, and the longer
side as a fraction of the picture's shorter side.
"""


def side_by_side(number: int) -> list[tuple[float, float, float]]:
    """Centres and sizes of things side by side on a backdrop."""
    size = {1: 0.7, 2: 0.44, 3: 0.3, 4: 0.225, 5: 0.18}[number]
    return [((place + 0.5) / number, 0.5, size) for place in range(number)]


def grid(number: int) -> list[tuple[float, float, float]]:
    """Centres and sizes of `number` equal things, apart from each other."""
    if number <= 3:
        return [(0.03 + 0.94 * x, y, size) for x, y, size in side_by_side(number)]
    if number == 4:
        return [(x, y, 0.42) for y in (0.27, 0.73) for x in (0.27, 0.73)]
    return [(x, y, 0.28) for x, y in ((0.18, 0.28), (0.5, 0.28), (0.82, 0.28), (0.33, 0.72), (0.67, 0.72))]


def standing_row(number: int, horizon: float) -> list[tuple[float, float, float]]:
    """Feet and sizes of things in a row on the ground; five take two rows."""
    foot = horizon + (1 - horizon) * 0.62
    if number <= 3:
        return [(0.03 + 0.94 * x, foot, size) for x, _, size in side_by_side(number)]
    back, front = (2, 2) if number == 4 else (3, 2)
    # The front row must not hide the back row's feet.
    size = min(0.28 if number == 4 else 0.26, 0.92 - horizon)
    rows = ((back, horizon + 0.05, size * 0.94), (front, 0.97, size))
    spread = {2: (0.3, 0.7), 3: (0.18, 0.5, 0.82)}
    return [(x, y, length) for members, y, length in rows for x in spread[members]]
