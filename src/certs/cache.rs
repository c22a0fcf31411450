//! What is remembered from one message to the next, in a process that serves many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Remembers values by their keys, up to a number of bytes. When it is more, all are forgotten.
pub struct Cache<K, V> {
    most: usize,
    remembered: Mutex<Option<Remembered<K, V>>>,
}

struct Remembered<K, V> {
    weight: usize,
    values: HashMap<K, Arc<V>>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// An empty one, for at most so many bytes.
    pub const fn new(most: usize) -> Self {
        Self { most, remembered: Mutex::new(None) }
    }

    /// The value that is remembered.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.as_ref()?.values.get(key).cloned()
    }

    /// Remembers a value of about `weight` bytes, unless that alone is too much.
    pub fn put(&self, key: K, value: V, weight: usize) -> Arc<V> {
        let value = Arc::new(value);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = remembered.get_or_insert_with(|| Remembered { weight: 0, values: HashMap::new() });
        // What is replaced counts until all is forgotten: that only makes it happen earlier.
        remembered.weight += weight;
        if remembered.weight > self.most {
            remembered.values.clear();
            remembered.weight = weight;
        }
        if remembered.weight <= self.most {
            remembered.values.insert(key, Arc::clone(&value));
        }
        value
    }
}

/// The identity of the process, and a path: what was read as one user is not known to another, even if both are
/// served by the same process.
pub type Key = ((u32, u32), PathBuf);

/// The key of what this process reads at `path` now.
pub fn key(path: &Path) -> Key {
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (ids, path.to_owned())
}
