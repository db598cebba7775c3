//! Jobs and files.

use ringback::{
    Error, Handle, Loop, Request, Result,
    fs::{self, File, OpenOptions},
    work,
};

use super::{App, ON_PURPOSE, Random, after_callback, completion};

pub(super) fn on_jobs(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let number = app.contract.next_number();
    let panics = random.below(10) == 0;
    let job = move || {
        if panics {
            std::panic::panic_any(ON_PURPOSE);
        }
        number
    };
    let request = work::run(lp, job, move |lp, app: &mut App, result| {
        app.contract.completed(number, "work");
        let right = match result {
            Ok(value) => !panics && value == number,
            Err(Error::Panicked { .. }) => panics,
            Err(error) => error.is_canceled(),
        };
        app.contract.expect(right, || "a job completed with another result".into());
        after_callback(lp, app, None)
    });
    app.requests.push(request.ok()?);
    app.contract.submitted(number, "work");
    Some("work")
}

pub(super) fn on_files(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let number = app.contract.next_number();
    let name = ["data", "other", "new", "missing/file", ""][random.below(5) as usize];
    let path = app.site.dir.join(name);
    if let Some(file) = random.pick(&app.files).filter(|_| random.one_in(2)) {
        return on_open_file(lp, app, random, file);
    }
    let (request, what) = match random.below(5) {
        0 => (fs::read(lp, path, completion(number, "read", None)), "read file"),
        1 => {
            let path = app.site.dir.join(["other", "missing/file"][random.below(2) as usize]);
            let bytes = vec![1; random.below(1000) as usize];
            (fs::write(lp, path, bytes, completion(number, "write", None)), "write file")
        }
        2 => (fs::metadata(lp, path, completion(number, "metadata", None)), "file metadata"),
        _ => {
            let opened = move |lp: &mut Loop<App>, app: &mut App, file: Result<File>| {
                app.contract.completed(number, "open");
                if let Ok(file) = file {
                    app.files.push(file);
                    app.handles.push(file.into());
                    if app.resting {
                        file.close(lp);
                    }
                }
                after_callback(lp, app, None)
            };
            let new = app.site.dir.join("new");
            match random.below(3) {
                0 => (File::open(lp, path, opened), "open file"),
                1 => (File::create(lp, new, opened), "create file"),
                _ => (OpenOptions::new().append(true).create(true).open(lp, new, opened), "open to append"),
            }
        }
    };
    submitted(app, number, what, request)
}

fn on_open_file(lp: &mut Loop<App>, app: &mut App, random: &mut Random, file: File) -> Option<&'static str> {
    fn callback<T>(number: u64, file: File) -> impl FnOnce(&mut Loop<App>, &mut App, Result<T>) -> Result {
        completion(number, "file", Some(Handle::from(file)))
    }
    let number = app.contract.next_number();
    let offset = random.below(5_000);
    let bytes = vec![2; random.below(3_000) as usize];
    let (request, what) = match random.below(7) {
        0 => (file.read_at(lp, offset, Vec::with_capacity(bytes.len()), callback(number, file)), "read at"),
        1 => (file.write_at(lp, offset, bytes, callback(number, file)), "write at"),
        2 => (file.append(lp, bytes, callback(number, file)), "append"),
        3 => (file.set_len(lp, offset, callback(number, file)), "set len"),
        4 => {
            let synced = callback(number, file);
            (if random.one_in(2) { file.sync(lp, synced) } else { file.sync_data(lp, synced) }, "sync")
        }
        5 => (file.metadata(lp, callback(number, file)), "metadata"),
        _ => {
            app.contract.closing(lp, file);
            file.close(lp);
            return Some("close file");
        }
    };
    submitted(app, number, what, request)
}

fn submitted(
    app: &mut App,
    number: u64,
    what: &'static str,
    request: Result<Request>,
) -> Option<&'static str> {
    app.requests.push(request.ok()?);
    app.contract.submitted(number, what);
    Some(what)
}
