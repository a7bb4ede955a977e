//! Step 3, the main baseline: a channel of channels.
//!
//! Each job has its own unbounded task channel. Its receiver is submitted k times to the workers' channel, so that at most
//! k workers ever read it; a worker stays with it until it closes. More than one receiver a worker would only be
//! read when the job is over, so k stops at the number of workers.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct Channels {
    submit: Option<Sender<Receiver<Task>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Contender for Channels {
    const KEEPS_LIMITS: bool = true;
    type Job = Sender<Task>;

    fn start(workers: usize) -> Self {
        let (submit, submitted) = unbounded::<Receiver<Task>>();
        let work = |_| {
            let submitted = submitted.clone();
            thread::spawn(move || {
                for tasks in submitted {
                    for task in tasks {
                        task();
                    }
                }
            })
        };
        Channels { submit: Some(submit), workers: (0..workers).map(work).collect() }
    }

    fn job(&self, limit: usize) -> Sender<Task> {
        let submit = self.submit.as_ref().expect("the pool is open until it is dropped");
        let (push, tasks) = unbounded();
        for _ in 1..limit.min(self.workers.len()) {
            submit.send(tasks.clone()).expect("the workers outlive the jobs");
        }
        submit.send(tasks).expect("the workers outlive the jobs");
        push
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Sender<Task>, task: F) {
        job.send(Box::new(task)).expect("the workers outlive the jobs");
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.submit = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
