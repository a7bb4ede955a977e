//! Cutting runs of items off the front of a range.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, transmute_copy};
use std::ops::{Range, RangeInclusive};

/// How much to cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One of so many parts, but no less than one item.
    Part(usize),
    /// So many items, or all if there are fewer.
    Items(u64),
}

impl Share {
    fn of(self, left: u64) -> u64 {
        match self {
            Self::Part(parts) => (left / parts as u64).max(1),
            Self::Items(items) => items.min(left.max(1)),
        }
    }
}

/// A range whose front can be cut off in a step.
trait Cut: Sized {
    /// Cuts off a share of what is left; `None` if nothing is left.
    fn cut(&mut self, share: Share) -> Option<Self>;
}

macro_rules! cut_ranges {
    ($($int:ty => $unsigned:ty),*) => {
        $(
            impl Cut for Range<$int> {
                fn cut(&mut self, share: Share) -> Option<Self> {
                    if Range::is_empty(self) {
                        return None;
                    }
                    let left = self.end.wrapping_sub(self.start) as $unsigned as u64;
                    let share = share.of(left);
                    let middle = self.start.wrapping_add(share as $int);
                    let front = self.start..middle;
                    self.start = middle;
                    Some(front)
                }
            }

            impl Cut for RangeInclusive<$int> {
                fn cut(&mut self, share: Share) -> Option<Self> {
                    if RangeInclusive::is_empty(self) {
                        return None;
                    }
                    // One fewer than there are: all of them may be more than the type counts.
                    let left = self.end().wrapping_sub(*self.start()) as $unsigned as u64;
                    let further = (share.of(left) - 1).min(left);
                    let last = self.start().wrapping_add(further as $int);
                    let front = *self.start()..=last;
                    *self = if last == *self.end() {
                        // Empty, as one is that has been iterated to its end.
                        #[allow(clippy::reversed_empty_ranges, reason = "it is to be empty")]
                        { 1..=0 }
                    } else {
                        last.wrapping_add(1)..=*self.end()
                    };
                    Some(front)
                }
            }
        )*

        /// Cuts a share off the front if the input is a range of integers. `None`: it is something
        /// else, or empty.
        #[inline]
        pub fn front<I: Iterator>(input: &mut I, share: Share) -> Option<I> {
            $(
                if let Some(front) = front_as::<I, Range<$int>>(input, share) {
                    return front;
                }
                if let Some(front) = front_as::<I, RangeInclusive<$int>>(input, share) {
                    return front;
                }
            )*
            None
        }
    };
}

cut_ranges!(
    u8 => u8, u16 => u16, u32 => u32, u64 => u64, usize => usize,
    i8 => u8, i16 => u16, i32 => u32, i64 => u64, isize => usize
);

/// `front`, if `I` is `R`; `None` if not.
#[inline]
fn front_as<I, R: Cut + 'static>(input: &mut I, share: Share) -> Option<Option<I>> {
    if id_of::<I>() != TypeId::of::<R>() {
        return None;
    }
    // SAFETY: they are the same type: `R` has no lifetimes in which it could differ from `I`.
    let range = unsafe { &mut *std::ptr::from_mut(input).cast::<R>() };
    let front = range.cut(share).map(|front| {
        let front = ManuallyDrop::new(front);
        // SAFETY: they are the same type, and the original is not used again.
        unsafe { transmute_copy::<ManuallyDrop<R>, I>(&front) }
    });
    Some(front)
}

/// The type's id as if all its lifetimes were `'static`.
fn id_of<T>() -> TypeId {
    trait Id {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T> Id for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom: &dyn Id = &PhantomData::<T>;
    // SAFETY: only the bound of the trait object changes, and `id` reads nothing through it.
    let phantom = unsafe { std::mem::transmute::<&dyn Id, &(dyn Id + 'static)>(phantom) };
    phantom.id()
}
