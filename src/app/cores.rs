//! Items -> results, worked on by all cores and handed over in order. What is under way at once is bounded by weight,
//! so that many cores take little more memory than one. Knows nothing of what is done to an item.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZero,
    ops::ControlFlow,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// How much may be taken and not handed over yet.
pub struct Load<T> {
    /// All together, and one item more that waits; one that weighs more is worked on alone.
    pub most: usize,
    /// What one item weighs.
    pub of: fn(&T) -> usize,
}

/// Does the work on each item, one a core at once, and hands over what comes of it in the order of the items. Once that
/// breaks off nothing more is taken; what was taken is finished and handed over, and the item that waited for room
/// comes back: it stands before the rest. A panic is passed on.
pub fn in_order<T: Send, R: Send>(
    items: impl Iterator<Item = T> + Send,
    load: Load<T>,
    work: impl Fn(T) -> R + Sync,
    hand_over: impl FnMut(R) -> ControlFlow<()>,
) -> Option<T> {
    // What the control group grants, where that is less than the machine has.
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    on(cores, items, load, work, hand_over)
}

fn on<T: Send, R: Send>(
    cores: usize,
    mut items: impl Iterator<Item = T> + Send,
    load: Load<T>,
    work: impl Fn(T) -> R + Sync,
    mut hand_over: impl FnMut(R) -> ControlFlow<()>,
) -> Option<T> {
    let workers = items.size_hint().1.map_or(cores, |most| most.min(cores));
    if workers <= 1 {
        let _ = items.try_for_each(|item| hand_over(work(item)));
        return None;
    }
    let table = Table { state: Mutex::new(State::new(workers)), changed: Condvar::new(), most: load.most };
    let source = Mutex::new((items, None));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let _leaves = Leaves(&table);
                loop {
                    // Held until there is room: one item waits for it, and not one a worker.
                    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                    if table.lock().is_over {
                        return;
                    }
                    let Some(item) = source.0.next() else { return };
                    let Some(number) = table.take((load.of)(&item)) else {
                        source.1 = Some(item);
                        return;
                    };
                    drop(source);
                    table.put(number, work(item));
                }
            });
        }
        while let Some(result) = table.next() {
            let wants_more = hand_over(result).is_continue();
            table.make_room(wants_more);
        }
    });
    source.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// Where the workers put what they have done.
struct Table<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    most: usize,
}

struct State<R> {
    /// So many results were handed over.
    handed_over: usize,
    /// What each item weighs that was taken and not handed over.
    under_way: VecDeque<usize>,
    /// What they weigh together.
    weight: usize,
    /// By the number of their items, since the first.
    done: BTreeMap<usize, R>,
    workers: usize,
    /// Nothing more is taken: nobody wants more, or a worker panicked, whose result never comes.
    is_over: bool,
}

impl<R> State<R> {
    const fn new(workers: usize) -> Self {
        Self { handed_over: 0, under_way: VecDeque::new(), weight: 0, done: BTreeMap::new(), workers, is_over: false }
    }
}

impl<R> Table<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for an item, and gives it its number; none once nothing more is taken.
    fn take(&self, weight: usize) -> Option<usize> {
        let is_full = |state: &mut State<R>| {
            !state.is_over && !state.under_way.is_empty() && state.weight.saturating_add(weight) > self.most
        };
        let mut state = self.changed.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return None;
        }
        state.under_way.push_back(weight);
        state.weight += weight;
        Some(state.handed_over + state.under_way.len() - 1)
    }

    fn put(&self, number: usize, result: R) {
        self.lock().done.insert(number, result);
        self.changed.notify_all();
    }

    /// Waits for the next result; none behind the last, and none where a worker panicked over it.
    fn next(&self) -> Option<R> {
        let is_missing = |state: &mut State<R>| state.workers > 0 && !state.done.contains_key(&state.handed_over);
        let mut state = self.changed.wait_while(self.lock(), is_missing).unwrap_or_else(PoisonError::into_inner);
        let number = state.handed_over;
        state.done.remove(&number)
    }

    /// That result was handed over, and takes no memory any more.
    fn make_room(&self, wants_more: bool) {
        let mut state = self.lock();
        state.handed_over += 1;
        state.weight -= state.under_way.pop_front().unwrap_or_default();
        state.is_over |= !wants_more;
        drop(state);
        self.changed.notify_all();
    }
}

/// Says at the end of a worker, however it ends, that nothing more comes from it.
struct Leaves<'a, R>(&'a Table<R>);

impl<R> Drop for Leaves<'_, R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.workers -= 1;
        state.is_over |= thread::panicking();
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;

    const LIGHT: Load<usize> = Load { most: usize::MAX, of: |_| 1 };

    #[test]
    fn all_work_at_once_and_what_comes_of_it_is_in_order() {
        // Whoever works alone waits here for ever.
        let together = Barrier::new(4);
        let mut results = Vec::new();
        let work = |item: usize| {
            together.wait();
            item * 2
        };
        on(4, 0..40, LIGHT, work, |result| {
            results.push(result);
            ControlFlow::Continue(())
        });
        assert_eq!(results, (0..40).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_under_way_weighs_no_more_than_it_may_and_the_heavy_is_alone() {
        for weights in
            [vec![1; 50], vec![4, 4, 4, 30, 1, 9, 30, 30, 2], vec![30; 5], (0..100).map(|n| n % 13).collect()]
        {
            let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = |weight: usize| {
                most.fetch_max(at_once.fetch_add(weight, Ordering::SeqCst) + weight, Ordering::SeqCst);
                thread::yield_now();
                weight
            };
            on(4, weights.iter().copied(), Load { most: 10, of: |weight| *weight }, work, |weight| {
                at_once.fetch_sub(weight, Ordering::SeqCst);
                ControlFlow::Continue(())
            });
            let heaviest = weights.iter().copied().max().unwrap_or_default();
            assert!(most.into_inner() <= heaviest.max(10), "{weights:?}");
        }
    }

    #[test]
    fn broken_off_it_hands_over_what_was_taken_and_leaves_the_rest() {
        for cores in [1, 4] {
            let (mut items, mut results) = (0..1_000, Vec::new());
            let load = Load { most: 3, of: |_: &usize| 1 };
            let waited = on(
                cores,
                &mut items,
                load,
                |item| item,
                |item| {
                    results.push(item);
                    if results.len() < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                },
            );
            assert!((10..=12).contains(&results.len()), "{results:?}");
            results.extend(waited.into_iter().chain(items));
            assert_eq!(results, (0..1_000).collect::<Vec<_>>(), "nothing is lost in between");
        }
    }

    #[test]
    fn a_panic_is_passed_on_and_nobody_waits_for_it() {
        for cores in [1, 4] {
            let load = Load { most: 2, of: |_: &usize| 1 };
            let work = |item| assert!(item != 5, "the test panics");
            let done = catch_unwind(AssertUnwindSafe(|| on(cores, 0..100, load, work, |()| ControlFlow::Continue(()))));
            assert!(done.is_err());
        }
    }

    #[test]
    fn no_item_is_no_work() {
        for cores in [1, 4] {
            on(cores, 0..0, LIGHT, |item| item, |_| panic!("nothing was there"));
        }
    }
}
