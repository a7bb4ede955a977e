//! Classes: which ready task a worker takes first, and that no class starves.

use super::*;

/// Turns of `High` after which one of `Normal` is due, and turns of both after which one of `Low` is due.
const NORMAL_AFTER: usize = 8;
const LOW_AFTER: usize = 32;

const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Each of many tasks is of a job of its own, so each is a turn.
fn push_turns(trial: &Trial, class: Priority, count: usize) {
    for _ in 0..count {
        trial.push(&trial.job(|job| job.limit(1).priority(class)), class as usize, 1);
    }
}

#[test]
fn higher_classes_go_first() {
    within(LONG, || {
        for pushed in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let trial = Trial::new();
            for class in pushed {
                push_turns(&trial, CLASSES[class], 5);
            }
            assert_eq!(runs(&trial.run()), [(0, 5), (1, 5), (2, 5)]);
        }
    });
}

/// A task of class `High` waits for the turn in progress alone, whatever waits in the other classes.
#[test]
fn a_high_task_waits_for_one_turn_of_lower_classes() {
    for (class, limit) in [Priority::Normal, Priority::Low]
        .into_iter()
        .flat_map(|class| LIMITS.map(|limit| (class, limit)))
    {
        within(LONG, move || {
            for at in [0, 1, 7, 14, 15, 16, 17, 31, 39] {
                let trial = Trial::new();
                let high = trial.job(|job| job.priority(Priority::High));
                let jobs: Vec<_> =
                    (0..5).map(|_| trial.job(|job| job.limit(limit).priority(class))).collect();
                let (pushes, task) = (high.clone(), trial.task(1, Duration::ZERO));
                trial.push(&jobs[0], 0, at);
                let order = Arc::clone(&trial.order);
                jobs[0].execute(move || {
                    order.lock().unwrap().push(2);
                    pushes.execute(task);
                });
                jobs.iter().for_each(|job| trial.push(job, 0, 100));
                let order = trial.run();
                let waited = before(&order, 1) - before(&order, 2) - 1;
                assert!(waited < TURN, "{waited} tasks, {class:?}, limit {limit}, at {at}");
            }
        });
    }
}

/// Tasks that the tasks of a lower class push inside do not go before a task of a higher class.
#[test]
fn a_high_task_waits_for_one_turn_beside_a_tree_of_tasks() {
    fn grow(job: &Job, order: &Arc<Mutex<Vec<usize>>>, depth: usize) {
        let (inside, inner) = (job.clone(), Arc::clone(order));
        job.execute(move || {
            inner.lock().unwrap().push(0);
            if depth > 0 {
                (0..2).for_each(|_| grow(&inside, &inner, depth - 1));
            }
        });
    }
    for class in [Priority::Normal, Priority::Low] {
        within(LONG, move || {
            let trial = Trial::new();
            let (high, job) = (
                trial.job(|job| job.priority(Priority::High)),
                trial.job(|job| job.priority(class)),
            );
            let small = trial.job(|job| job.priority(class));
            grow(&job, &trial.order, 10);
            // After the first turn of the tree.
            let (order, task) = (Arc::clone(&trial.order), trial.task(1, Duration::ZERO));
            small.execute(move || {
                order.lock().unwrap().push(2);
                high.execute(task);
            });
            let order = trial.run();
            assert_eq!(order.len(), (1 << 11) + 1);
            let waited = before(&order, 1) - before(&order, 2) - 1;
            assert!(before(&order, 2) < order.len() - 2, "the tree has several turns");
            assert_eq!(waited, 0, "{class:?}");
        });
    }
}

/// Each class gets its turns while higher classes have tasks without end.
#[test]
fn no_class_starves() {
    within(LONG, || {
        for lower in [&CLASSES[1..2], &CLASSES[2..], &CLASSES[1..]] {
            let trial = Trial::new();
            push_turns(&trial, Priority::High, 2_000);
            lower.iter().for_each(|class| push_turns(&trial, *class, 20));
            let order = trial.run();
            let places = |class: Priority| {
                let places =
                    order.iter().enumerate().filter(move |entry| *entry.1 == class as usize);
                places.map(|entry| entry.0).collect::<Vec<_>>()
            };
            for class in lower {
                let places = places(*class);
                for (from, to) in
                    [0].into_iter().chain(places.iter().map(|place| place + 1)).zip(&places)
                {
                    let between = &order[from..*to];
                    let (passed, most) = match class {
                        Priority::Low => (between.len(), LOW_AFTER),
                        _ => (between.iter().filter(|class| **class == 0).count(), NORMAL_AFTER),
                    };
                    assert_eq!(passed, most, "{class:?} among {lower:?}: {:?}", runs(&order));
                }
            }
        }
    });
}

/// A worker counts its turns for a lower class only while a task of that class is ready. Here another worker takes that task, then no
/// such task is ready for one turn, and then there is another one.
#[test]
fn turns_are_counted_while_a_lower_class_waits() {
    fn note(job: &Job, number: usize, order: &Arc<Mutex<Vec<usize>>>) {
        let order = Arc::clone(order);
        job.execute(move || order.lock().unwrap().push(number));
    }
    for (class, after) in [(Priority::Normal, NORMAL_AFTER), (Priority::Low, LOW_AFTER)] {
        within(LONG, move || {
            let (pool, _) = pool_with_clock(2);
            let make = |class| pool.job_builder().limit(1).priority(class).build();
            let [here, there, lower] = [(); 3].map(|()| (Gauge::new(), Latch::new()));
            for (gauge, latch) in [&here, &there] {
                pool.job(1).execute(stay(gauge, latch));
                gauge.until_running(1);
            }
            let order = Arc::new(Mutex::new(Vec::new()));
            make(class).execute(stay(&lower.0, &lower.1));
            (0..4).for_each(|_| note(&make(Priority::High), 0, &order));
            let high: Vec<_> = (0..2 * LOW_AFTER).map(|_| make(Priority::High)).collect();
            let (next, second, theirs) = (make(Priority::High), make(class), Arc::clone(&order));
            let taken = lower.0.clone();
            // During the fifth turn the other worker becomes free, takes the lower task, and stays there.
            make(Priority::High).execute(move || {
                there.1.open();
                taken.until_running(1);
                next.execute(move || {
                    high.iter().for_each(|job| note(job, 1, &theirs));
                    note(&second, 2, &theirs);
                });
            });
            here.1.open();
            while order.lock().unwrap().len() < 4 + 2 * LOW_AFTER + 1 {
                std::thread::yield_now();
            }
            assert_eq!(before(&order.lock().unwrap(), 2), 4 + after, "{class:?}");
        });
    }
}

/// If turns of `Normal` and of `Low` become due at once, the turn of `Low` comes first: its bound counts turns of `Normal`, too.
#[test]
fn low_goes_first_if_both_lower_classes_are_due() {
    within(LONG, || {
        let trial = Trial::new();
        push_turns(&trial, Priority::High, LOW_AFTER - NORMAL_AFTER - 1);
        let (normal, task) = (trial.job(|job| job.limit(1)), trial.task(1, Duration::ZERO));
        let order = Arc::clone(&trial.order);
        trial.job(|job| job.limit(1).priority(Priority::High)).execute(move || {
            order.lock().unwrap().push(0);
            normal.execute(task); // after this turn, `Normal` is due in 8 turns and `Low` too
        });
        push_turns(&trial, Priority::High, 3 * NORMAL_AFTER);
        push_turns(&trial, Priority::Low, 1);
        let expected = [(0, LOW_AFTER), (2, 1), (1, 1), (0, 2 * NORMAL_AFTER)];
        assert_eq!(runs(&trial.run()), expected);
    });
}

/// Tasks that a task of `Normal` has pushed inside lie in the worker's local queue. They have their turns, too, while tasks of `High`
/// wait.
#[test]
fn tasks_pushed_inside_do_not_starve() {
    within(LONG, || {
        let trial = Trial::new();
        let job = trial.job(|job| job);
        let high = |_| {
            let job = trial.job(|job| job.limit(1).priority(Priority::High));
            (job, trial.task(0, Duration::ZERO))
        };
        let high: Vec<_> = (0..3 * NORMAL_AFTER).map(high).collect();
        let inside: Vec<_> = (0..2 * TURN).map(|_| trial.task(1, Duration::ZERO)).collect();
        let (own, task) = (job.clone(), trial.task(1, Duration::ZERO));
        job.execute(move || {
            task();
            high.into_iter().for_each(|(job, task)| job.execute(task));
            inside.into_iter().for_each(|task| own.execute(task));
        });
        let expected =
            [(1, TURN), (0, NORMAL_AFTER), (1, TURN), (0, NORMAL_AFTER), (1, 1), (0, NORMAL_AFTER)];
        assert_eq!(runs(&trial.run()), expected);
    });
}

/// A turn of another class comes between two turns of `High`. The job of `High` that had the last turn is passed over nevertheless.
#[test]
fn a_lone_high_task_waits_for_one_turn_of_another_job_beside_a_turn_of_normal() {
    within(LONG, || {
        let trial = Trial::new();
        push_turns(&trial, Priority::Normal, 1);
        push_turns(&trial, Priority::High, NORMAL_AFTER - 1);
        let long = trial.job(|job| job.priority(Priority::High));
        trial.push(&long, 3, 3 * TURN);
        trial.push(&trial.job(|job| job.limit(1).priority(Priority::High)), 4, 1);
        let expected = [(0, NORMAL_AFTER - 1), (3, TURN), (1, 1), (4, 1), (3, 2 * TURN)];
        assert_eq!(runs(&trial.run()), expected);
    });
}

/// Within each class, a lone task waits for one turn of each other job, as in a pool without classes.
#[test]
fn a_lone_task_waits_for_one_turn_of_each_job_of_its_class() {
    for (class, limit) in CLASSES.into_iter().flat_map(|class| LIMITS.map(|limit| (class, limit))) {
        within(LONG, move || {
            let trial = Trial::new();
            // A pool with classes, also if all tasks are of class `Normal`.
            drop(trial.job(|job| job.priority(Priority::Low)));
            let make = |job: JobBuilder| job.limit(limit).priority(class);
            for number in 0..4 {
                trial.push(&trial.job(make), number, 10 * TURN);
            }
            trial.push(&trial.job(make), 4, 1);
            let order = trial.run();
            let mut waited = [0; 4];
            order.iter().take_while(|number| **number < 4).for_each(|number| waited[*number] += 1);
            assert!(
                waited.iter().all(|tasks| *tasks <= TURN),
                "{waited:?} {class:?} limit {limit}"
            );
        });
    }
}

/// A future that wakes itself on a worker does not go before a task of a higher class, and does not starve.
#[cfg(feature = "futures")]
#[test]
fn woken_futures_keep_to_their_class() {
    use std::task::Poll;
    within(LONG, || {
        for class in CLASSES {
            let trial = Trial::new();
            let job = trial.job(|job| job.priority(class));
            let high = trial.job(|job| job.limit(1).priority(Priority::High));
            for number in [0, 1] {
                let order = Arc::clone(&trial.order);
                let (high, task) = (high.clone(), trial.task(9, Duration::ZERO));
                let mut left = 100;
                let mut task = Some(task).filter(|_| number == 0);
                drop(job.spawn_future(std::future::poll_fn(move |context| {
                    order.lock().unwrap().push(number);
                    left -= 1;
                    if left == 50
                        && let Some(task) = task.take()
                    {
                        order.lock().unwrap().push(8);
                        high.execute(task);
                    }
                    context.waker().wake_by_ref();
                    if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                })));
            }
            let order = trial.run();
            assert_eq!(order.len(), 202);
            let waited = before(&order, 9) - before(&order, 8) - 1;
            assert!(waited <= 2, "{waited} polls of {class:?}");
        }
    });
}

/// A task that is handed over with its permits lies in the injector of its class, too.
#[test]
fn a_task_that_is_handed_over_is_of_its_class() {
    within(LONG, || {
        let trial = Trial::new();
        push_turns(&trial, Priority::Normal, 5);
        trial.push(&trial.job(|job| job.limit(1).priority(Priority::Low).capacity(0)), 2, 1);
        trial.push(&trial.job(|job| job.limit(1).priority(Priority::High).capacity(0)), 0, 1);
        assert_eq!(runs(&trial.run()), [(0, 1), (1, 5), (2, 1)]);
    });
}
