//! Key-value pairs of WPS 2.0. Execute has none.

use super::{DescribeProcess, Request, operation_not_supported};
use crate::ows::kvp::Parameters;
use crate::ows::{Exception, ExceptionReport};
use crate::service::ServiceInfo;
use crate::wps::{Processes, language};

/// Parses the parameters of a request whose service and version have been checked; GetCapabilities has been read before.
pub(crate) fn parse(
    operation: &str,
    parameters: &Parameters<'_>,
    service: &ServiceInfo,
) -> Result<Request, ExceptionReport> {
    let job = || parameters.value("jobid").ok_or_else(|| Exception::missing("JobID"));
    Ok(match operation.to_ascii_lowercase().as_str() {
        "describeprocess" => {
            let processes = Processes::new(parameters.list("identifier"))?;
            let language = language("lang", parameters.value("lang").as_deref(), service)?;
            Request::DescribeProcess(DescribeProcess { processes, language })
        }
        "getstatus" => Request::GetStatus(job()?),
        "getresult" => Request::GetResult(job()?),
        "dismiss" => Request::Dismiss(job()?),
        _ => return Err(operation_not_supported(operation).into()),
    })
}
