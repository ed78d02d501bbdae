//! Values under small numbers that are used again; a generation tells the old bearer of a number
//! from the new one.

/// A number and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The number.
    pub index: u32,
    /// 24 bits that change each time the number is given out.
    pub generation: u32,
}

/// The values.
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    len: usize,
}

struct Place<T> {
    generation: u32,
    taken: bool,
    value: Option<Box<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    /// A number for a value to come.
    pub fn reserve(&mut self) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                taken: false,
                value: None,
            });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.generation = (place.generation + 1) & 0x00ff_ffff;
        place.taken = true;
        self.len += 1;
        Id {
            index,
            generation: place.generation,
        }
    }

    /// Puts a value under a reserved number, or back after [`Slab::take`].
    pub fn put(&mut self, index: u32, value: Box<T>) {
        self.places[index as usize].value = Some(value);
    }

    /// Takes a value out for a while; its number stays reserved.
    pub fn take(&mut self, index: u32) -> Option<Box<T>> {
        self.places.get_mut(index as usize)?.value.take()
    }

    /// Gives the number back.
    pub fn free(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        if std::mem::take(&mut place.taken) {
            place.value = None;
            self.free.push(index);
            self.len -= 1;
        }
    }

    /// The value of that generation under that number.
    pub fn get(&mut self, id: Id) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation {
            place.value.as_deref_mut()
        } else {
            None
        }
    }

    /// The value under that number, whatever its generation.
    pub fn at(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.value.as_deref_mut()
    }

    /// Whether a number still means the same bearer.
    pub fn holds(&self, id: Id) -> bool {
        self.places
            .get(id.index as usize)
            .is_some_and(|p| p.taken && p.generation == id.generation)
    }

    /// Numbers given out.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no number is given out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One past the largest number ever given out.
    pub fn end(&self) -> u32 {
        self.places.len() as u32
    }

    /// All values that are in their place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.places
            .iter_mut()
            .enumerate()
            .filter_map(|(i, p)| p.value.as_deref_mut().map(|v| (i as u32, v)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_does_not_reach_the_new_bearer_of_its_number() {
        let mut slab = Slab::default();
        let old = slab.reserve();
        slab.put(old.index, Box::new("old"));
        slab.free(old.index);
        let new = slab.reserve();
        slab.put(new.index, Box::new("new"));
        assert_eq!(old.index, new.index);
        assert!(slab.get(old).is_none() && !slab.holds(old));
        assert_eq!(slab.get(new), Some(&mut "new"));
        assert_eq!(slab.len(), 1);
    }
}
