//! The span of a task of a traced job. Without the feature `tracing` there are no spans, and this code does nothing.

#![cfg_attr(
    not(feature = "tracing"),
    allow(
        unused_variables,
        clippy::unused_self,
        reason = "a span that never is has nothing to do"
    )
)]

use crate::job::record::JobPtr;
use std::marker::PhantomData;

/// The span of one task, or nothing if the task's job is not traced. The parent span is the current span of the thread that
/// pushed the task.
#[derive(Debug)]
pub struct TaskSpan {
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

impl TaskSpan {
    /// Makes the span of a task that this thread is about to push. Makes no span if the job is not traced.
    #[inline]
    pub fn of(job: JobPtr) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: job.extra().is_some_and(|extra| extra.traced).then(|| make(job)),
        }
    }

    /// Returns true if the task has a span.
    #[inline]
    pub fn is_some(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.span.is_some();
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Adds the name of the task to the span.
    pub fn note_name(&self, name: &str) {
        #[cfg(feature = "tracing")]
        if let Some(span) = &self.span {
            span.record("task", name);
        }
    }

    /// Enters the span on this thread, until the returned guard is dropped.
    #[inline]
    pub fn enter(&self) -> Inside<'_> {
        Inside {
            #[cfg(feature = "tracing")]
            _inside: self.span.as_ref().map(tracing::Span::enter),
            span: PhantomData,
        }
    }
}

/// A guard that keeps this thread in the task's span until the guard is dropped.
#[must_use]
#[derive(Debug)]
pub struct Inside<'a> {
    #[cfg(feature = "tracing")]
    _inside: Option<tracing::span::Entered<'a>>,
    span: PhantomData<&'a TaskSpan>,
}

#[cfg(feature = "tracing")]
fn make(job: JobPtr) -> tracing::Span {
    let name = job.extra().and_then(|extra| extra.name.as_deref()).unwrap_or_default();
    tracing::info_span!(target: "tollgate", "task", job = name, task = tracing::field::Empty)
}
