use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Compiled, Filter, FilterError, FilterKind};

/// Expressions that are remembered. They are at most 16 KiB long.
const KEPT_MAX: usize = 512;

/// Expressions that were compiled, so that each is compiled once however often requests bring it, and shared by all
/// who use it.
#[derive(Debug, Default)]
pub struct CompiledFilters {
    known: Mutex<HashMap<String, Arc<Compiled>>>,
}

impl CompiledFilters {
    /// Reads an expression, or finds it among those that were read before.
    pub fn get(&self, kind: FilterKind, expression: &str) -> Result<Filter, FilterError> {
        if kind == FilterKind::Tag {
            return Filter::new(kind, expression);
        }
        if let Some(found) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(expression) {
            return Ok(Filter::Sql(found.clone()));
        }
        // Not under the lock: others need not wait for a long expression.
        let compiled = Arc::new(Compiled::new(expression)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_MAX {
            known.retain(|_, compiled| Arc::strong_count(compiled) > 1);
        }
        if known.len() < KEPT_MAX {
            let compiled = known.entry(expression.to_owned()).or_insert(compiled);
            return Ok(Filter::Sql(compiled.clone()));
        }
        Ok(Filter::Sql(compiled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_compiled_once_and_shared() {
        let filters = CompiledFilters::default();
        let get = |text: &str| match filters.get(FilterKind::Sql92, text) {
            Ok(Filter::Sql(compiled)) => compiled,
            other => panic!("{other:?}"),
        };
        assert!(Arc::ptr_eq(&get("a = 1"), &get("a = 1")));
        let held = get("a = 2");
        for number in 0..2 * KEPT_MAX {
            get(&format!("b = {number}"));
        }
        assert!(Arc::ptr_eq(&held, &get("a = 2")), "what is in use is not forgotten");
        assert!(filters.known.lock().unwrap().len() <= KEPT_MAX);
        assert!(filters.get(FilterKind::Sql92, "a =").is_err());
    }
}
