//! The one way in which an endpoint has a job done. Its order is fixed: take the lock, hand over the inputs, begin the
//! status, start, audit. A turn that is dropped before it is started leaves nothing behind.

use super::Call;
use crate::error::Error;
use crate::job::{JobError, Lock};
use crate::jobs::{Job, Order, Row, Trace};
use crate::response::Response;
use crate::upload::{Handover, Received};

/// The right to run a job, and what it will get.
pub struct Turn {
    lock: Lock,
    row: &'static Row,
    handover: Handover,
    handed: Vec<&'static str>,
}

impl Turn {
    /// Takes the right to run an order of a job. Every handler does this before it reads its form: what cannot be
    /// done is refused before anything is received.
    pub fn take(call: &Call<'_, '_>, job: Job, argument: &str) -> Result<Turn, Error> {
        let row = job.row();
        let order = order(row, argument)?;
        let lock = Lock::take_for(call.appliance, job, order).map_err(|error| Error::Job(order.failure, error))?;
        Ok(Turn { lock, row, handover: Handover::new(call.appliance), handed: Vec::new() })
    }

    /// The same, whatever runs beside it: the caller has insisted.
    pub fn force(call: &Call<'_, '_>, job: Job, argument: &str) -> Result<Turn, Error> {
        let row = job.row();
        let order = order(row, argument)?;
        let lock = Lock::take(call.appliance, job).map_err(|error| Error::Job(order.failure, error))?;
        Ok(Turn { lock, row, handover: Handover::new(call.appliance), handed: Vec::new() })
    }

    /// Hands over a file that was received.
    pub fn file(&mut self, name: &'static str, received: Received) -> Result<(), Error> {
        self.handed.push(name);
        self.handover.file(name, received)
    }

    /// Hands over a document.
    pub fn document(&mut self, name: &'static str, content: &[u8]) -> Result<(), Error> {
        self.handed.push(name);
        self.handover.document(name, content)
    }

    /// Removes what an earlier job left: it is no answer to this request.
    pub fn forget(&mut self, name: &str) -> Result<(), Error> {
        self.handover.absent(name)
    }

    /// Starts the job and leaves it to itself. The answer is 202.
    pub fn start(mut self, call: &Call<'_, '_>, argument: &'static str) -> Result<Response, Error> {
        let order = self.prepare(argument)?;
        self.lock.start(call.appliance, order.argument()).map_err(|error| Error::Job(order.failure, error))?;
        self.done(call, order);
        Ok(Response::accepted(self.row.location))
    }

    /// Runs the job to its end. Returns what it printed.
    pub fn wait(mut self, call: &Call<'_, '_>, argument: &'static str) -> Result<Vec<u8>, Error> {
        let order = self.prepare(argument)?;
        let output = self.output(call, order).map_err(|error| Error::Job(order.failure, error))?;
        self.done(call, order);
        Ok(output)
    }

    /// The same, where a failure can be an answer.
    pub fn try_wait(mut self, call: &Call<'_, '_>, argument: &'static str) -> Result<Result<Vec<u8>, JobError>, Error> {
        let order = self.prepare(argument)?;
        Ok(self.output(call, order))
    }

    fn output(&self, call: &Call<'_, '_>, order: &'static Order) -> Result<Vec<u8>, JobError> {
        self.lock.wait(call.appliance, order.argument())
    }

    fn prepare(&mut self, argument: &str) -> Result<&'static Order, Error> {
        let order = order(self.row, argument)?;
        // What a client did not send must not be there from an earlier request.
        for name in order.inputs.iter().filter(|name| !self.handed.contains(name)) {
            self.handover.absent(name)?;
        }
        if order.trace == Trace::Status {
            self.lock.begin_status();
        }
        Ok(order)
    }

    fn done(&mut self, call: &Call<'_, '_>, order: &Order) {
        self.handover.complete();
        if let Some(action) = order.action {
            call.audit(action, order.target);
        }
    }
}

fn order(row: &'static Row, argument: &str) -> Result<&'static Order, Error> {
    row.order(argument).ok_or_else(|| Error::Internal(format!("job {}: no such order: {argument}", row.word)))
}
