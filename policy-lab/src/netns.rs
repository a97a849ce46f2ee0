//! Network namespaces without a name or a mount.
//!
//! A file descriptor holds a namespace, so the kernel removes it with its interfaces when this
//! process ends, however it ends. A thread is moved with `setns`; because a moved thread must not
//! run other work, everything inside a namespace runs on a short-lived thread of its own.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// Why a namespace could not be created or used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// `unshare` failed.
    #[error("cannot create a network namespace")]
    Create(#[source] nix::Error),
    /// `setns` failed.
    #[error("cannot enter a network namespace")]
    Enter(#[source] nix::Error),
    /// The file of the new namespace could not be opened.
    #[error("cannot open the new network namespace")]
    Open(#[source] io::Error),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The thread inside the namespace panicked.
    #[error("a thread inside a network namespace panicked")]
    Panicked,
    /// A sysctl could not be written.
    #[error("cannot write {path}")]
    Sysctl {
        /// File under `/proc/sys/net`.
        path: PathBuf,
        /// The error of the write.
        #[source]
        source: io::Error,
    },
}

/// A network namespace; the kernel removes it with the last clone and the last socket inside.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// Creates an empty namespace; its loopback interface is down.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Create`] without the privilege.
    pub fn create() -> Result<Self, NetnsError> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Create)?;
            let file = File::open("/proc/thread-self/ns/net").map_err(NetnsError::Open)?;
            Ok(Self { file: Arc::new(file) })
        })
    }

    /// Moves the calling thread into the namespace.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Enter`] where the kernel refuses.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)
    }

    /// Runs `task` on a thread inside the namespace, in the caller's tokio runtime if there is one.
    ///
    /// A socket that `task` opens belongs to the namespace, also when another thread uses it.
    ///
    /// # Errors
    ///
    /// Where the namespace cannot be entered, and the errors of `task`.
    pub fn run<T: Send, E: Send + From<NetnsError>>(
        &self,
        task: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        on_own_thread(|| {
            let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
            self.enter()?;
            task()
        })
    }

    /// Writes sysctls of the namespace.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Sysctl`] where one cannot be written; an optional one may be missing.
    pub fn set_sysctls(&self, sysctls: &[Sysctl]) -> Result<(), NetnsError> {
        self.run(|| sysctls.iter().try_for_each(Sysctl::write))
    }

    /// A path that `nsenter --net=PATH` accepts, valid as long as this process holds the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Starts `command` inside the namespace, and ends it when the thread that starts it ends.
    pub fn place(&self, command: &mut Command) {
        let namespace = Arc::clone(&self.file);
        let enter = move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            setns(&*namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls on a descriptor that it
        // owns; it neither allocates nor takes a lock that another thread might have held.
        unsafe { command.pre_exec(enter) };
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A sysctl of a network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Sysctl {
    /// Path below `/proc/sys/net`.
    pub path: &'static str,
    /// The value to write.
    pub value: &'static str,
    /// Whether the kernel may lack it.
    pub optional: bool,
}

impl Sysctl {
    /// Writes the sysctl of the calling thread's namespace.
    fn write(&self) -> Result<(), NetnsError> {
        let path = PathBuf::from("/proc/sys/net").join(self.path);
        match fs::write(&path, self.value) {
            Err(source) if self.optional && source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(NetnsError::Sysctl { path, source }),
            Ok(()) => Ok(()),
        }
    }
}

/// Runs `task` on a thread that ends with it, so that no other work runs in its namespace.
fn on_own_thread<T: Send, E: Send + From<NetnsError>>(
    task: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("in-namespace".to_owned())
            .spawn_scoped(scope, task)
            .map_err(NetnsError::Thread)?;
        match thread.join() {
            Ok(outcome) => outcome,
            Err(_panic) => Err(NetnsError::Panicked.into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode() -> Result<PathBuf, NetnsError> {
        fs::read_link("/proc/thread-self/ns/net").map_err(NetnsError::Open)
    }

    #[test]
    fn a_namespace_is_another_one_and_the_caller_stays_outside() -> Result<(), NetnsError> {
        let before = inode()?;
        let namespace = Namespace::create()?;
        let within = namespace.run(inode)?;
        assert_ne!(before, within);
        assert_eq!(before, inode()?);
        Ok(())
    }

    #[test]
    fn a_panic_inside_is_an_error_outside() -> Result<(), NetnsError> {
        let namespace = Namespace::create()?;
        let outcome: Result<(), NetnsError> = namespace.run(|| panic!("as the test wants it"));
        assert!(matches!(outcome, Err(NetnsError::Panicked)));
        Ok(())
    }
}
