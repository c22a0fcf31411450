//! Caches that outlive one message: a Dovecot process delivers many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps values by key, up to a total weight in bytes. A value that exceeds the total empties the cache
/// first: no order of use has to be kept.
pub struct Cache<K, V> {
    max: usize,
    remembered: Mutex<Option<Remembered<K, V>>>,
}

struct Remembered<K, V> {
    weight: usize,
    /// With the weight of each.
    values: HashMap<K, (Arc<V>, usize)>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// Creates an empty cache for at most `most` bytes.
    pub const fn new(max: usize) -> Self {
        Self { max, remembered: Mutex::new(None) }
    }

    /// Returns the value for `key`, if it is in the cache.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.as_ref()?.values.get(key).map(|(value, _)| Arc::clone(value))
    }

    /// Stores a value that takes about `weight` bytes, unless it alone exceeds the maximum. Returns the
    /// value.
    pub fn put(&self, key: K, value: V, weight: usize) -> Arc<V> {
        let value = Arc::new(value);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = remembered.get_or_insert_with(|| Remembered { weight: 0, values: HashMap::new() });
        let replaced = remembered.values.remove(&key).map_or(0, |(_, weight)| weight);
        remembered.weight = remembered.weight - replaced + weight;
        if remembered.weight > self.max {
            remembered.values.clear();
            remembered.weight = weight;
        }
        if remembered.weight <= self.max {
            remembered.values.insert(key, (Arc::clone(&value), weight));
        }
        value
    }
}

/// Effective user and group ID of the process, and a path. One process serves many users, and a user must not
/// be answered with a file that only another one may read.
pub type Key = ((u32, u32), PathBuf);

/// Returns the key under which this process caches what it reads at `path` as its current user.
pub fn key(path: &Path) -> Key {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (ids, path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_replaced_weighs_nothing() {
        let cache: Cache<u8, &str> = Cache::new(10);
        cache.put(1, "one", 4);
        for _ in 0..9 {
            cache.put(2, "two", 6);
        }
        assert!(cache.get(&1).is_some() && cache.get(&2).is_some());
        cache.put(3, "three", 1);
        assert!(cache.get(&1).is_none() && cache.get(&3).is_some());
        cache.put(4, "four", 11);
        assert!(cache.get(&4).is_none());
    }
}
