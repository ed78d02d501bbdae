//! Cells of the globe: 52-bit geohashes as Redis keeps them in scores, what a search has to look at, and distances.
//!
//! A cell of step `n` is one of 2^n by 2^n pieces of the map, which reaches to the 85th degrees of latitude. Its number
//! interleaves the bits of its row (at the even places) and its column (at the odd ones), so cells near each other mostly have
//! numbers near each other, and all places within a cell are one range of scores.
//!
//! Source: Redis's geo commands; the figures (radius, limits, estimates) are theirs, since clients see their results.

/// Metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half the length of the map's side in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
pub(super) const LONGITUDE: (f64, f64) = (-180.0, 180.0);
pub(super) const LATITUDE: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// The finest step: what scores hold.
pub(super) const FINEST: u32 = 26;

/// A place: degrees of longitude and latitude.
pub(super) type Place = (f64, f64);

/// A piece of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    bits: u64,
    step: u32,
}

/// Spreads 32 bits over the even places.
fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        n = (n | n << shift) & mask;
    }
    n
}

/// Gathers the bits at the even places.
fn gather(n: u64) -> u32 {
    let mut n = n & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        n = (n | n >> shift) & mask;
    }
    n as u32
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Cell {
    /// The cell of a place on a map of these limits.
    pub(super) fn on_map(
        place: Place,
        longitude: (f64, f64),
        latitude: (f64, f64),
        step: u32,
    ) -> Cell {
        let part = |at: f64, (min, max): (f64, f64)| {
            ((at - min) / (max - min) * (1u64 << step) as f64) as u32
        };
        let (column, row) = (part(place.0, longitude), part(place.1, latitude));
        Cell {
            bits: spread(row) | spread(column) << 1,
            step,
        }
    }

    fn at(place: Place, step: u32) -> Cell {
        Cell::on_map(place, LONGITUDE, LATITUDE, step)
    }

    /// The number of the finest cell of a place.
    pub(super) fn number(&self) -> u64 {
        self.bits
    }

    fn area(&self) -> Area {
        let pieces = (1u64 << self.step) as f64;
        let edge = |n: u32, (min, max): (f64, f64)| min + f64::from(n) / pieces * (max - min);
        let (row, column) = (gather(self.bits), gather(self.bits >> 1));
        Area {
            west: edge(column, LONGITUDE),
            east: edge(column.wrapping_add(1), LONGITUDE),
            south: edge(row, LATITUDE),
            north: edge(row.wrapping_add(1), LATITUDE),
        }
    }

    /// The cell so many columns to the east and rows to the north, round the edges of the map. A place on the eastern or
    /// northern edge itself is in a cell beyond it; as in Redis it stays there in the direction in which nothing moves.
    fn beside(&self, columns: i32, rows: i32) -> Cell {
        let all = (1u64 << self.step) - 1;
        let turn = |n: u32, by: i32| match by {
            0 => u64::from(n),
            _ => (i64::from(n) + i64::from(by)) as u64 & all,
        };
        let row = turn(gather(self.bits), rows) as u32;
        let column = turn(gather(self.bits >> 1), columns) as u32;
        Cell {
            bits: spread(row) | spread(column) << 1,
            step: self.step,
        }
    }

    /// The scores of the places within, the second excluded.
    pub(super) fn scores(&self) -> (f64, f64) {
        let shift = 2 * (FINEST - self.step);
        (
            (self.bits << shift) as f64,
            ((self.bits + 1) << shift) as f64,
        )
    }
}

/// The score of a place.
pub(super) fn score(place: Place) -> f64 {
    Cell::at(place, FINEST).bits as f64
}

/// The middle of the cell that a score stands for.
pub(super) fn place(score: f64) -> Place {
    let area = Cell {
        bits: score as i64 as u64,
        step: FINEST,
    }
    .area();
    let middle = |a: f64, b: f64, (min, max): (f64, f64)| ((a + b) / 2.0).clamp(min, max);
    (
        middle(area.west, area.east, LONGITUDE),
        middle(area.south, area.north, LATITUDE),
    )
}

fn distance_north(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b.to_radians() - a.to_radians()).abs()
}

/// Metres between two places, by the haversine formula.
pub(super) fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.0.to_radians() - a.0.to_radians()) / 2.0).sin();
    if v == 0.0 {
        return distance_north(a.1, b.1);
    }
    let (north_a, north_b) = (a.1.to_radians(), b.1.to_radians());
    let u = ((north_b - north_a) / 2.0).sin();
    let h = u * u + north_a.cos() * north_b.cos() * v * v;
    2.0 * EARTH_RADIUS * h.sqrt().asin()
}

/// What a search covers, in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Shape {
    /// How far a place is from the centre, if it is within.
    pub(super) fn reach(&self, centre: Place, at: Place) -> Option<f64> {
        match *self {
            Shape::Circle { radius } => {
                let far = distance(centre, at);
                (far <= radius).then_some(far)
            }
            Shape::Box { width, height } => {
                let fits = distance_north(at.1, centre.1) <= height / 2.0
                    && distance(at, (centre.0, at.1)) <= width / 2.0;
                fits.then(|| distance(centre, at))
            }
        }
    }

    /// Half its width and height, and the distance of its farthest point.
    fn extent(&self) -> (f64, f64, f64) {
        match *self {
            Shape::Circle { radius } => (radius, radius, radius),
            Shape::Box { width, height } => {
                let (w, h) = (width / 2.0, height / 2.0);
                (w, h, (w * w + h * h).sqrt())
            }
        }
    }

    /// The cells in which every place of the shape around `centre` lies, in the order in which Redis looks at them. The
    /// same cell may come twice.
    pub(super) fn cells(&self, centre: Place) -> Vec<Cell> {
        let (width, height, farthest) = self.extent();
        let (longitude, latitude) = centre;
        let up = (height / EARTH_RADIUS).to_degrees();
        let along = |lat: f64| (width / EARTH_RADIUS / lat.to_radians().cos()).to_degrees();
        // The edge nearer to the pole is the one with more degrees.
        let side = match latitude < 0.0 {
            true => along(latitude - up),
            false => along(latitude + up),
        };
        let bounds = Area {
            west: longitude - side,
            east: longitude + side,
            south: latitude - up,
            north: latitude + up,
        };
        let mut step = step_for(farthest, latitude);
        let mut cell = Cell::at(centre, step);
        let too_fine = cell.beside(0, 1).area().north < bounds.north
            || cell.beside(0, -1).area().south > bounds.south
            || cell.beside(1, 0).area().east < bounds.east
            || cell.beside(-1, 0).area().west > bounds.west;
        if step > 1 && too_fine {
            step -= 1;
            cell = Cell::at(centre, step);
        }
        let own = cell.area();
        let around = [
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ];
        let mut cells = vec![cell];
        for (columns, rows) in around {
            // A neighbour beyond an edge that the shape does not reach has nothing to give.
            let idle = step >= 2
                && ((rows < 0 && own.south < bounds.south)
                    || (rows > 0 && own.north > bounds.north)
                    || (columns < 0 && own.west < bounds.west)
                    || (columns > 0 && own.east > bounds.east));
            if !idle {
                let next = cell.beside(columns, rows);
                // On a coarse map neighbours are often the same cell.
                if cells.len() < 2 || cells.last() != Some(&next) {
                    cells.push(next);
                }
            }
        }
        cells
    }
}

/// The finest step whose cells, nine together, hold a circle of this radius.
fn step_for(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return FINEST;
    }
    let (mut radius, mut step) = (radius, 1i32);
    while radius < MERCATOR_MAX {
        radius *= 2.0;
        step += 1;
    }
    step -= 2;
    // Towards the poles degrees of longitude are short.
    step -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, FINEST as i32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(row: u32, column: u32) {
            let both = spread(row) | spread(column) << 1;
            prop_assert_eq!((gather(both), gather(both >> 1)), (row, column));
        }

        /// A search looks at every cell in which something within reach may be.
        #[test]
        fn what_is_near_is_in_a_cell(
            lon in -179.0..179.0f64, lat in -70.0..70.0f64, east in -1.0..1.0f64, north in -1.0..1.0f64, far in 1.0..300_000.0f64,
        ) {
            let (centre, at) = ((lon, lat), (lon + east, lat + north));
            let shape = Shape::Circle { radius: far };
            let kept = score(at);
            if shape.reach(centre, place(kept)).is_some() {
                let found = shape.cells(centre).iter().any(|cell| {
                    let (from, to) = cell.scores();
                    from <= kept && kept < to
                });
                prop_assert!(found);
            }
        }
    }

    #[test]
    fn a_place_is_kept_to_within_a_metre() {
        for at in [(13.361389, 38.115556), (-179.9, -85.0), (0.0, 0.0)] {
            assert!(distance(at, place(score(at))) < 1.0);
        }
        assert_eq!(score((13.361389, 38.115556)), 3_479_099_956_230_698.0);
    }
}
