//! The only way for an endpoint to run a job. The order is fixed: take the lock, hand over the inputs, write the
//! record, start, audit. If a turn is dropped before the start, nothing is left behind.

use super::Call;
use crate::appliance::Appliance;
use crate::appliance::resumable::Upload;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::history;
use crate::jobs::job::{JobError, Lock};
use crate::jobs::record::{Ending, Record};
use crate::jobs::{Job, Operation, Row, Trace};
use crate::upload::{Handover, Received};
use crate::values::clock;

/// The right to run a job, and its inputs.
pub struct Turn {
    lock: Lock,
    row: &'static Row,
    handover: Handover,
    handed: Vec<&'static str>,
}

impl Turn {
    /// Takes the right to run an operation of a job. Every handler does this before it reads its form, so that a refusal
    /// comes before the upload.
    pub fn take(call: &Call<'_, '_>, job: Job, argument: &str) -> Result<Turn, Error> {
        let row = job.row();
        let operation = operation(row, argument)?;
        let lock =
            Lock::take_for(call.appliance, job, operation).map_err(|error| Error::Job(operation.failure, error))?;
        Ok(Turn::new(call, row, operation, lock))
    }

    /// The same without exclusions: the caller used force.
    pub fn force(call: &Call<'_, '_>, job: Job, argument: &str) -> Result<Turn, Error> {
        let row = job.row();
        let operation = operation(row, argument)?;
        let lock = Lock::take(call.appliance, job).map_err(|error| Error::Job(operation.failure, error))?;
        Ok(Turn::new(call, row, operation, lock))
    }

    fn new(call: &Call<'_, '_>, row: &'static Row, operation: &'static Operation, lock: Lock) -> Turn {
        if operation.trace != Trace::None {
            // Continue even if the history cannot be written.
            if let Err(error) = history::archive_previous(call.appliance, row) {
                log::error!("job {}: the previous one cannot be added to the history: {error}", row.name);
            }
        }
        Turn { lock, row, handover: Handover::new(call.appliance), handed: Vec::new() }
    }

    /// Hands over a received file.
    pub fn file(&mut self, name: &'static str, received: Received) -> Result<(), Error> {
        self.handed.push(name);
        self.handover.file(name, received)
    }

    /// Hands over an upload that came in pieces.
    pub fn upload(&mut self, name: &'static str, upload: Upload) -> Result<(), Error> {
        self.handed.push(name);
        self.handover.upload(name, upload)
    }

    /// Hands over a document.
    pub fn document(&mut self, name: &'static str, content: &[u8]) -> Result<(), Error> {
        self.handed.push(name);
        self.handover.document(name, content)
    }

    /// Removes the output of an earlier job, which must not be returned for this request.
    pub fn forget(&mut self, name: &str) -> Result<(), Error> {
        self.handover.absent(name)
    }

    /// Starts the job in the background and returns 202.
    pub fn start(mut self, call: &Call<'_, '_>, argument: &'static str) -> Result<Response, Error> {
        let (operation, id) = self.prepare(call, argument)?;
        self.lock.start(call.appliance, operation.argument()).map_err(|error| self.failed(call, operation, error))?;
        self.done(call, operation);
        Ok(Response::accepted(self.row.location, &id))
    }

    /// Runs the job to its end. Returns its output.
    pub fn wait(self, call: &Call<'_, '_>, argument: &'static str) -> Result<Vec<u8>, Error> {
        let failure = operation(self.row, argument)?.failure;
        self.try_wait(call, argument)?.map_err(|error| Error::Job(failure, error))
    }

    /// The same, if a failure can be a normal response.
    pub fn try_wait(mut self, call: &Call<'_, '_>, argument: &'static str) -> Result<Result<Vec<u8>, JobError>, Error> {
        let (operation, _) = self.prepare(call, argument)?;
        let result = self.lock.wait(call.appliance, operation.argument());
        match &result {
            Ok(_) => {
                self.end(call, operation, Ending::default());
                self.done(call, operation);
            }
            Err(error) => self.end_badly(call, operation, error),
        }
        Ok(result)
    }

    /// Hands over the inputs and writes the record: from here on, status requests get this job.
    fn prepare(&mut self, call: &Call<'_, '_>, argument: &str) -> Result<(&'static Operation, String), Error> {
        let operation = operation(self.row, argument)?;
        // Remove inputs of an earlier request that this client did not send.
        for name in operation.inputs.iter().filter(|name| !self.handed.contains(name)) {
            self.handover.absent(name)?;
        }
        if operation.trace == Trace::None {
            // It has no record that a repeated request could find.
            drop(call.lock_of_key.take());
            return Ok((operation, String::new()));
        }
        self.lock.begin();
        let record = Record::new(argument, call.caller.key(), call.idempotency.clone());
        let written = record.and_then(|record| record.write(call.appliance, self.row).map(|()| record.id));
        // Without a record the job still runs, but has no id.
        let id = written.unwrap_or_else(|error| {
            log::error!("job {}: its record cannot be written: {error}", self.row.name);
            String::new()
        });
        drop(call.lock_of_key.take());
        Ok((operation, id))
    }

    fn failed(&self, call: &Call<'_, '_>, operation: &'static Operation, error: JobError) -> Error {
        self.end_badly(call, operation, &error);
        Error::Job(operation.failure, error)
    }

    fn end_badly(&self, call: &Call<'_, '_>, operation: &Operation, error: &JobError) {
        let reason = match error {
            JobError::Failed(_, Some(reason)) => reason.clone(),
            JobError::Failed(_, None) => "The job failed".to_owned(),
            // It may still be running, and will report its own status.
            JobError::Unfinished(..) => return,
            JobError::NotStarted(..) | JobError::NoLock(..) | JobError::Running(_) | JobError::Excluded { .. } => {
                "The job could not be started".to_owned()
            }
        };
        self.end(call, operation, Ending { reason: Some(reason), ..Ending::default() });
    }

    /// Records the end of a job that the client waited for, because an ancestor's job does not.
    fn end(&self, call: &Call<'_, '_>, operation: &Operation, ending: Ending) {
        if operation.trace != Trace::None
            && let Err(error) = (Ending { ended: clock::now(), ..ending }).write(call.appliance, self.row)
        {
            log::error!("job {}: its end cannot be recorded: {error}", self.row.name);
        }
    }

    fn done(&mut self, call: &Call<'_, '_>, operation: &Operation) {
        self.handover.complete();
        if let Some(action) = operation.action {
            call.audit(action, operation.target);
        }
    }
}

/// Checks whether an operation of a job could be started now.
pub fn may_start(appliance: &Appliance, job: Job, argument: &str) -> Result<(), Error> {
    let operation = operation(job.row(), argument)?;
    Lock::take_for(appliance, job, operation).map(drop).map_err(|error| Error::Job(operation.failure, error))
}

fn operation(row: &'static Row, argument: &str) -> Result<&'static Operation, Error> {
    row.operation(argument).ok_or_else(|| Error::Internal(format!("job {}: no such operation: {argument}", row.name)))
}
